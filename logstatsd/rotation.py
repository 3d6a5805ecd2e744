"""What of a log is still to be read: the rest of its rotated generations, in order, then the live file."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.checkpoint import KEPT_FILES, TAIL_BYTES, LogState, Position
from logstatsd.errors import InputError
from logstatsd.generations import PLAIN, Generation, OvertakenError, Tail, generations, settled
from logstatsd.sources import Chunk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_LINE = 4 << 20
"""A line longer than this is given in parts: memory stays bounded whatever a log holds."""
START = Tail(0, b"")
_TRIES = 50
_PAUSE_S = 0.01
# File times tick, and two processes may write across a rotation: this much earlier still counts as unread.
_SLACK_NS = 100_000_000


class Portion(NamedTuple):
    """Whole lines of one file of a log, and the log's state to save once they are delivered.

    The chunk holds its bytes; it is empty where only the state moved.
    """

    log: str
    chunk: Chunk
    state: LogState


class Span(NamedTuple):
    """A file to read on `after` a tail. Of a `finished` one, a last line without newline stays without."""

    file: Generation
    after: Tail
    finished: bool
    position: int | None


class Fit(NamedTuple):
    """That a file holds what was read at a position, all of it if `exact`: read on `after`.

    `repeated` bytes are to be read again, since the file went on differently.
    """

    file: Generation
    after: Tail
    exact: bool
    repeated: int = 0


class Plan:
    """What to read of one log now, in order. `notes` are sentences for a person; closed after reading."""

    def __init__(self, log: str, state: LogState, files: Sequence[Generation]) -> None:
        self.log = log
        self.state = state
        self.spans: list[Span] = []
        self.notes: list[str] = []
        self.moved = False
        self._files = files

    def portions(self, *, max_lines: int = 10_000, until_eof: bool = False) -> Iterator[Portion]:
        """Give the unread whole lines, at most `max_lines` at a time.

        A last line without newline waits for it; with `until_eof` not in a finished file. Ends early where a
        rotation comes between: what is left is there for the next plan.
        """
        if self.moved:
            yield Portion(self.log, Chunk(self.log, 0, 0, b""), self.state)
        try:
            for span in self.spans:
                yield from self._read(span, max_lines, until_eof=until_eof)
        except OvertakenError:
            return

    def _read(self, span: Span, max_lines: int, *, until_eof: bool) -> Iterator[Portion]:
        file, (offset, before), at = span.file, span.after, span.position
        rest = b""
        for block in file.blocks(span.after):
            if span.position is None and offset == span.after.offset:
                settled(self.log, self._files)  # nothing before it tells yet that it is still the same
            rest += block
            while cut := whole_lines(rest, max_lines) or (len(rest) > MAX_LINE and len(rest)):
                data, rest = rest[:cut], rest[cut:]
                before, at = self._advance(file, at, offset, before, data)
                yield self._portion(file, offset, data)
                offset += cut
        if rest and until_eof and span.finished:
            before, at = self._advance(file, at, offset, before, rest)
            yield self._portion(file, offset, rest)
        if file.damage:
            self.notes.append(f"{file.path}: {file.damage}")
        if file.kind != PLAIN and at is not None and not self.state.positions[at].done:
            self._exchange(at, self.state.positions[at]._replace(done=True))
            yield self._portion(file, offset, b"")

    def _portion(self, file: Generation, offset: int, data: bytes) -> Portion:
        path = self.log if file.live else str(file.path)
        return Portion(self.log, Chunk(path, offset, len(data), data, file.inode), self.state)

    def _advance(
        self, file: Generation, at: int | None, offset: int, before: bytes, data: bytes
    ) -> tuple[bytes, int]:
        """Move the state past `data`; a file that gives its first lines becomes the newest position."""
        if at is None:
            first = data[: data.rfind(b"\n", 0, TAIL_BYTES) + 1] or data
            begun = file.position(Tail(offset + len(first), before + first).point)
            positions = (*self.state.positions, begun)[-KEPT_FILES:]
            self.state = self.state._replace(positions=positions)
            at = len(positions) - 1
        tail = Tail(offset + len(data), (before + data)[-TAIL_BYTES:])
        self._exchange(at, self.state.positions[at].moved(tail.point))
        return tail.data, at

    def _exchange(self, at: int, position: Position) -> None:
        positions = [*self.state.positions]
        positions[at] = position
        self.state = self.state._replace(positions=tuple(positions))

    def release(self) -> list[Generation]:
        """Close the files but the newest that was read, and give that, to be held for the next plan."""
        newest = self.state.positions[-1] if self.state.positions else None
        held = [file.held() for file in self._files if newest and file.is_same_file(newest) and file.is_open]
        self.close()
        return held

    def close(self) -> None:
        """Close the files."""
        _close(self._files)


def start(log: str, at: str = "start") -> LogState:
    """The state of a log that was never read: `at` its "start" or its "end". Raises InputError.

    The generations that are there already are left out either way.
    """
    files = generations(log)
    if not files:
        raise InputError(f"{log}: no such file, or not a regular one: only a file can be resumed")
    try:
        since_ns = max((file.mtime_ns + 1 for file in files if not file.live), default=0)
        tail = files[-1].last_line_end() if at == "end" and files[-1].live else START
        if not tail.offset:
            return LogState(since_ns=since_ns)
        return LogState((files[-1].position(tail.point),), since_ns)
    finally:
        _close(files)


def resume(log: str, state: LogState, held: Sequence[Generation] = ()) -> Plan:
    """Find what was written since `state`, through rotations of any kind.

    A file is known again by device and inode and the hash of the bytes before the offset, or, copied or
    compressed, by that hash alone. Costs a few reads of 4 KiB whatever the size of the log, except where a
    compressed generation must be looked into. `held` are files kept open, in case their names are gone.
    Raises InputError where the log cannot be read.
    """
    for _ in range(_TRIES):
        held = [file.held() for file in held]
        files = generations(log)
        inodes = {(file.device, file.inode) for file in files}
        nameless = [file for file in held if (file.device, file.inode) not in inodes]
        try:
            plan = _Search(log, state, [*nameless, *files]).result()
        except OvertakenError:
            _close(files)
            time.sleep(_PAUSE_S)
        except BaseException:
            _close([*held, *files])
            raise
        else:
            _close([file for file in held if file not in nameless])
            return plan
    _close(held)
    raise InputError(f"{log}: was rotated again and again while it was looked at; try again")


def _essence(state: LogState) -> tuple[object, ...]:
    """What is worth saving by itself: not that a file that is still written to has grown."""
    return state.since_ns, [position._replace(size=0, mtime_ns=0) for position in state.positions]


def _close(files: Sequence[Generation]) -> None:
    for file in files:
        file.close()


class _Search:
    """Where the files of a state are now, and which files are new."""

    def __init__(self, log: str, state: LogState, files: list[Generation]) -> None:
        self.log, self.state, self.files = log, state, files
        self.live = files[-1] if files and files[-1].live else None
        self.plan = Plan(log, state, files)
        self.claimed: dict[int, Generation] = {}

    def result(self) -> Plan:
        """Make the plan. Raises OvertakenError where the files changed meanwhile."""
        plan, positions = self.plan, self.state.positions
        if not self.files:
            plan.notes.append(f"{self.log}: is not there now, nor is a rotated generation of it")
        newest = len(positions) - 1
        fit = self._newest() if positions else None
        if fit is None or not fit.file.is_same_file(positions[-1]):
            settled(self.log, self.files)
        if fit:
            self.claimed[newest] = fit.file
        fits = {at: found for at in range(newest) if (found := self._earlier(at))}
        if fit:
            fits[newest] = fit
        for at, found in fits.items():
            self._read_on(at, found)
        if fit is None or fit.file is not self.live:
            for file in [*self._unread(), *([self.live] if self.live else [])]:
                plan.spans.append(Span(file, file.beginning(), self._finished(file), None))
        if positions and fit is None:
            self._say_missing(positions[-1])
        plan.moved = _essence(plan.state) != _essence(self.state)
        return plan

    def _newest(self) -> Fit | None:
        """The file where reading stopped: itself, else a copy of it, else the beginning of one."""
        position = self.state.positions[-1]
        same = [file for file in self.files if file.is_same_file(position)]
        best = None
        for file in [*same, *self._others(same, position)]:
            fit = self._fit(file, position)
            if fit and fit.exact:
                return fit
            best = best or fit
        return best

    def _others(self, same: list[Generation], position: Position) -> Iterator[Generation]:
        """The other files, the most likely and the cheapest to look into first."""
        others = [file for file in self.files if file not in same and self._readable(file)]
        newer = position.mtime_ns - _SLACK_NS
        yield from sorted(others, key=lambda f: (f.kind != PLAIN, not f.live, not f.is_newer_than(newer)))

    def _earlier(self, at: int) -> Fit | None:
        """An earlier file that may have got late lines, or was compressed since."""
        position = self.state.positions[at]
        for file in self.files:
            if file.is_same_file(position) and file not in self.claimed.values():
                if file.is_unchanged(position) and (position.done or file.size == position.offset):
                    self.claimed[at] = file
                    return None
                if fit := self._fit(file, position):
                    self.claimed[at] = file
                    return fit
        known = self.state.positions
        for file in self.files:
            if (
                not file.live
                and file.is_newer_than(position.mtime_ns - _SLACK_NS)
                and not any(file.is_same_file(other) for other in known)
                and self._readable(file)
                and file.kind != PLAIN
                and (fit := self._fit(file, position))
            ):
                self.claimed[at] = file
                return fit
        return None

    def _fit(self, file: Generation, position: Position) -> Fit | None:
        if not self._readable(file):
            return None
        if position.done and file.is_unchanged(position):
            return Fit(file, Tail(position.offset, b""), exact=True)
        offsets = [point.offset for point in position.points]
        best, end, diverged = START, START, False
        for end in file.tails(offsets):
            if end.point in position.points:
                best = end
            elif not best.offset:
                return None
            else:
                diverged |= end.offset in offsets
        if best.offset == position.offset:
            return Fit(file, best, exact=True)
        if end.offset < position.offset and not diverged and not file.is_same_file(position):
            return Fit(file, end, exact=False)  # a copy made on the way, all of it read
        return Fit(file, best, exact=False, repeated=position.offset - best.offset) if best.offset else None

    def _read_on(self, at: int, fit: Fit) -> None:
        """Take up the file of a position, by the name and the numbers it has now."""
        plan, position = self.plan, self.state.positions[at]
        kept = tuple(point for point in position.points if point.offset < fit.after.offset)
        point = position.points[-1] if fit.exact else fit.after.point
        if fit.repeated:
            plan.notes.append(
                f"{fit.file.path}: is not as it was read after byte {point.offset:,} (the machine crashed?): "
                f"read from there again, up to {fit.repeated:,} bytes twice"
            )
        unchanged = fit.file.is_unchanged(position)
        current = fit.file.position(*kept, point)._replace(done=position.done and unchanged)
        plan._exchange(at, current)
        if not current.done and (fit.file.kind != PLAIN or fit.file.size > fit.after.offset):
            plan.spans.append(Span(fit.file, fit.after, self._finished(fit.file), at))

    def _unread(self) -> Iterator[Generation]:
        """The generations that came after the newest position, and are not copies of what was read."""
        positions = self.state.positions
        horizon = max(self.state.since_ns, positions[-1].mtime_ns - _SLACK_NS if positions else 0)
        for file in self.files:
            if file.live or file in self.claimed.values() or not file.is_newer_than(horizon):
                continue
            if self._readable(file) and not any(self._fit(file, position) for position in positions):
                yield file

    def _finished(self, file: Generation) -> bool:
        """Whether nothing is written to it any more: it is compressed, or the log goes on in another file."""
        if file.live:
            return False
        return file.kind != PLAIN or bool(self.live and self.live.size)

    def _readable(self, file: Generation) -> bool:
        """Whether its bytes can be had; if not, that is noted. The live file must be."""
        try:
            return bool(file.kind)
        except InputError as error:
            if file.live:
                raise
            if (note := f"{error}; its lines are left out") not in self.plan.notes:
                self.plan.notes.append(note)
            return False

    def _say_missing(self, position: Position) -> None:
        """Say that the file where reading stopped is gone, and do not look for it again."""
        here = self.live is not None and self.live.is_same_file(position)
        what = "was truncated, and no copy of it is left" if here else "is gone, and so is every copy of it"
        self.plan.notes.append(
            f"{self.log}: the file in which the last run stopped (at byte {position.offset:,}) {what}: "
            "what was written to it since is lost; going on with the next file"
        )
        plan = self.plan
        since_ns = max(plan.state.since_ns, position.mtime_ns - _SLACK_NS)
        plan.state = plan.state._replace(positions=plan.state.positions[:-1], since_ns=since_ns)


def whole_lines(data: bytes, max_lines: int) -> int:
    """The length of the whole lines at the start of `data`, of at most `max_lines` of them."""
    lines = data.split(b"\n", max_lines)
    return len(data) - len(lines[-1])
