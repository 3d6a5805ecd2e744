"""A log, and runs over it that resume from a checkpoint file as `replay --resume` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logstatsd.tail.checkpoint import Store
from logstatsd.tail.resume import resume, start

if TYPE_CHECKING:
    from pathlib import Path

DESTINATION = "udp://127.0.0.1:8125"


def lines(first: int, last: int) -> list[str]:
    """Access log lines that differ, by number, both ends included."""
    return [
        f'192.0.2.1 - - "GET /users/{number} HTTP/1.1" 200 12 0.{number:03}'
        for number in range(first, last + 1)
    ]


class Resumed:
    """A log in a directory, and what the runs over it delivered."""

    def __init__(self, directory: Path, name: str = "access.log") -> None:
        self.log = directory / name
        self.checkpoint = directory / "state" / "state.json"
        self.notes: list[str] = []

    def append(self, first: int, last: int, to: str = "", end: str = "\n") -> None:
        """Write numbered lines to the log, or to another file beside it."""
        self.write("\n".join(lines(first, last)) + end, to)

    def write(self, text: str, to: str = "") -> None:
        """Append to the log, or to another file beside it."""
        with self.beside(to).open("a") as file:
            file.write(text)

    def beside(self, ending: str) -> Path:
        """The file that is named as the log with that ending."""
        return self.log.with_name(self.log.name + ending)

    def rename(self, to: str, source: str = "") -> None:
        """Rename as logrotate does first."""
        self.beside(source).rename(self.beside(to))

    def copytruncate(self, to: str) -> None:
        """Copy and truncate, as logrotate does for a writer that cannot reopen its log."""
        self.beside(to).write_bytes(self.log.read_bytes())
        with self.log.open("r+b") as file:
            file.truncate(0)

    def run(self, *, crash_after: int | None = None, at: str = "start", **options: object) -> list[int]:
        """One run, and the numbers of the lines that it delivered; it dies in the middle if it is to."""
        delivered: list[bytes] = []
        log = str(self.log)
        with Store(self.checkpoint, DESTINATION) as store:
            state = store.checkpoint.logs.get(log) or start(log, at)
            store.save(store.checkpoint.with_log(log, state))
            with resume(log, state) as plan:
                for portion in plan.portions(**options):
                    delivered += portion.chunk.data.splitlines()
                    if crash_after is not None and len(delivered) >= crash_after:
                        break
                    store.save(store.checkpoint.with_log(log, portion.state))
        self.notes = plan.notes
        return [int(line.split()[-1].split(b".")[1]) for line in delivered]


def numbers(first: int, last: int) -> list[int]:
    """The numbers of these lines."""
    return list(range(first, last + 1))
