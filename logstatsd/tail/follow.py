"""Follow logs by name, through rotations, until told to stop."""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import TYPE_CHECKING

from logstatsd.tail.resume import resume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from logstatsd.tail.checkpoint import LogState
    from logstatsd.tail.plan import Portion
    from logstatsd.tail.rotated import LogFile

POLL_S = 0.25
FULL_LOOK_S = 5.0
"""How often the earlier generations are looked at where the live file did not change."""


class Control:
    """A switch that tells a run that waits to stop, or to look at the files at once.

    `wait` ends at once when told. `stop` and `reopen` may be called from any thread and from signal handlers
    (the classic self-pipe).
    """

    def __init__(self) -> None:
        self._stopping = False
        self._reopening = False
        self._read_end, self._write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._read_end)
        os.close(self._write_end)

    def stop(self) -> None:
        """End the run after the portion at hand."""
        self._stopping = True
        self._ring()

    def stopped(self) -> bool:
        """Whether the run is to end."""
        return self._stopping

    def reopen(self) -> None:
        """Look at the files now."""
        self._reopening = True
        self._ring()

    def wait(self, timeout_s: float) -> bool:
        """Sleep, or be woken; True if files are to be looked at whatever their times say."""
        if select.select([self._read_end], [], [], timeout_s)[0]:
            os.read(self._read_end, 4096)
        reopening, self._reopening = self._reopening, False
        return reopening

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: enough rings are waiting already
            os.write(self._write_end, b"!")


class _Followed:
    """One log, as it was left after the last look."""

    def __init__(self, log: str, state: LogState) -> None:
        self._log, self._state = log, state
        self._held: list[LogFile] = []
        self._seen: tuple[int, ...] | None = None
        self._looked_s = -FULL_LOOK_S
        self._noted: set[str] = set()

    def is_due(self) -> bool:
        """Whether the live file changed since the last look, or that was long ago."""
        return _glance(self._log) != self._seen or time.monotonic() - self._looked_s >= FULL_LOOK_S

    def look(
        self, note: Callable[[str], None], remark: Callable[[str], None], max_lines: int, *, until_eof: bool
    ) -> Iterator[Portion]:
        """Give what is unread; the file that was read last stays open until the next look."""
        self._seen, self._looked_s = _glance(self._log), time.monotonic()
        reading = resume(self._log, self._state, self._held)
        self._tell(reading.plan.notes, note)
        self._tell(reading.plan.remarks, remark)
        try:
            yield from reading.portions(max_lines=max_lines, until_eof=until_eof)
        finally:
            self._state, self._held = reading.state, reading.release()
        self._tell(reading.notes, note)
        self._noted = {*reading.notes, *reading.plan.remarks}

    def _tell(self, notes: Iterable[str], note: Callable[[str], None]) -> None:
        for text in notes:
            if text not in self._noted:
                note(text)
                self._noted.add(text)

    def close(self) -> None:
        """Close what is held."""
        for file in self._held:
            file.close()


def follow(
    logs: Mapping[str, LogState],
    control: Control,
    note: Callable[[str], None],
    *,
    remark: Callable[[str], None] = lambda _: None,
    max_lines: int = 10_000,
    until_eof: bool = False,
    poll_s: float = POLL_S,
) -> Iterator[Portion | None]:
    """Give the lines of the logs as they are written; None after every look, about each `poll_s`.

    The rest of a rotated file comes before the new one, also where its name is gone by then. Ends when
    `control` says so. Notes come before the portions that move past what they tell.
    The state of each portion that was delivered is the one to keep. Raises InputError.
    """
    followed = [_Followed(log, state) for log, state in logs.items()]
    at_once = True
    try:
        while not control.stopped():
            for one in followed:
                if at_once or one.is_due():
                    for portion in one.look(note, remark, max_lines, until_eof=until_eof):
                        yield portion
                        if control.stopped():
                            return
            yield None
            at_once = control.wait(poll_s)
    finally:
        for one in followed:
            one.close()


def _glance(log: str) -> tuple[int, ...] | None:
    """Read the numbers that tell cheaply whether the live file changed; None where there is none."""
    try:
        status = os.stat(log)  # noqa: PTH116 - four times a second
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
