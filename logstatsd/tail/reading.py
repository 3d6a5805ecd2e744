"""Read what a ReadPlan names, in portions that each carry the state to save."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logstatsd.sources.compression import PLAIN
from logstatsd.sources.source import Chunk
from logstatsd.tail.checkpoint import KEPT_FILES, TAIL_BYTES, LogState, Position
from logstatsd.tail.lines import count_on
from logstatsd.tail.plan import Portion, ReadPlan, Span
from logstatsd.tail.rotated import Fingerprint, LogFile, OvertakenError, close_all, confirm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

MAX_LINE = 4 << 20
"""A line longer than this is given in parts: memory stays bounded whatever a log holds."""


class Reading:
    """A plan that is carried out; the files are open until the `with` block ends.

    `plan.notes` are to be told before the first portion is delivered: a run that is killed after it has moved
    its state past them. `notes` has those and what reading adds. `state` is that of the last portion.
    """

    def __init__(self, plan: ReadPlan, files: Sequence[LogFile]) -> None:
        self.plan = plan
        self.state: LogState = plan.state
        self.notes: list[str] = [*plan.notes]
        self._files = files
        self._left = list(plan.spans)
        self._newest_file: LogFile | None = None

    def portions(self, *, max_lines: int = 10_000, until_eof: bool = False) -> Iterator[Portion]:
        """Give the unread whole lines, at most `max_lines` at a time.

        A last line without newline waits for it; with `until_eof` not in a finished file. Ends early where a
        rotation comes between: what is left is there for the next plan. Raises InputError.
        """
        if self.plan.moved:
            yield Portion(self.plan.log, Chunk(self.plan.log, 0, 0, b""), self.state)
        given = self.plan.state
        try:
            while self._left:
                self._begin(self._left[0])
                for portion in self._read(self._left[0], max_lines, until_eof=until_eof):
                    given = portion.state
                    yield portion
                self._end(self._left.pop(0))
        except OvertakenError:
            return
        if given.essence != self.state.essence:
            yield Portion(self.plan.log, Chunk(self.plan.log, 0, 0, b""), self.state)

    def _begin(self, span: Span) -> None:
        """Add a new file's position to the state, which keeps the latest few and those still to be read."""
        if span.fresh:
            others = [one for one in self.state.positions if one.points or not span.file.is_same_file(one)]
            positions = (*others, span.position)
            self.state = self.state._replace(positions=worth_keeping(positions, self._left))

    def _end(self, span: Span) -> None:
        """Close a file that was read, unless it is the newest, which may get late lines."""
        newest = self.state.newest
        for file in (span.file, self._newest_file):
            if file and file.named and not (newest and file.is_same_file(newest)):
                file.close()
        if newest and span.file.is_same_file(newest):
            self._newest_file = span.file

    def _read(self, span: Span, max_lines: int, *, until_eof: bool) -> Iterator[Portion]:
        file, (offset, before) = span.file, span.after
        at = self.state.positions.index(span.position)
        rest = b""
        for block in file.blocks(span.after):
            if file.live and not self.state.positions[at].points:
                confirm(self.plan.log, self._files)  # a rotation may have come before its head was asked for
            rest += block
            while cut := whole_lines_bytes(rest, max_lines) or (len(rest) > MAX_LINE and len(rest)):
                data, rest = rest[:cut], rest[cut:]
                before = self._advance(at, offset, before, data)
                yield self._portion(file, offset, data)
                offset += cut
        if rest and until_eof and span.finished:
            self._advance(at, offset, before, rest)
            yield self._portion(file, offset, rest)
        if file.damage:
            self.notes.append(f"{file.path}: {file.damage}")
        if file.kind != PLAIN and not self.state.positions[at].done:
            self.state = self.state.with_position(at, self.state.positions[at]._replace(done=True))
            yield self._portion(file, offset, b"")

    def _portion(self, file: LogFile, offset: int, data: bytes) -> Portion:
        path = self.plan.log if file.live else str(file.path)
        return Portion(self.plan.log, Chunk(path, offset, len(data), data, file.inode), self.state)

    def _advance(self, at: int, offset: int, before: bytes, data: bytes) -> bytes:
        """Move the state past `data`, and give the bytes before what comes next."""
        tail = Fingerprint(offset + len(data), (before + data)[-TAIL_BYTES:])
        position = _with_first_point(self.state.positions[at], offset, before, data)
        position = position.moved(tail.point)._replace(lines=count_on(position.lines, data))
        self.state = self.state.with_position(at, position)
        return tail.data

    def release(self) -> list[LogFile]:
        """Close the files but the newest that was read, and give that, to be held for the next plan."""
        last = self.state.newest
        held = [file.held() for file in self._files if last and file.is_same_file(last) and file.is_open]
        close_all(self._files)
        return held

    def __enter__(self) -> Reading:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        close_all(self._files)


def worth_keeping(positions: Sequence[Position], spans: Sequence[Span]) -> tuple[Position, ...]:
    """Pick the latest positions with and without lines, and those that are read on."""
    blank = [one for one in positions if not one.points][-KEPT_FILES:]
    read = [one for one in positions if one.points][-KEPT_FILES:]
    kept = {*blank, *read, *(span.position for span in spans if not span.fresh)}
    return tuple(one for one in positions if one in kept)


def _with_first_point(position: Position, offset: int, before: bytes, data: bytes) -> Position:
    """Remember the end of the first lines of a file, by which it is known however short a copy is."""
    if position.points:
        return position
    first = data[: data.rfind(b"\n", 0, TAIL_BYTES) + 1] or data
    return position.moved(Fingerprint(offset + len(first), before + first).point)


def whole_lines_bytes(data: bytes, max_lines: int) -> int:
    """Measure the whole lines at the start of `data`, of at most `max_lines` of them."""
    lines = data.split(b"\n", max_lines)
    return len(data) - len(lines[-1])
