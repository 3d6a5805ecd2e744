"""What of a log is unread: the rest of its rotated generations, in order, then the live file."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.errors import InputError
from logstatsd.tail.checkpoint import KEPT_FILES, LogState, Position
from logstatsd.tail.plan import ReadPlan, Span
from logstatsd.tail.rotated import PLAIN, Fingerprint, LogFile, OvertakenError, close_all, confirm, log_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START = Fingerprint(0, b"")
_GONE = Position(0, 0, 0, 0, ())
_TRIES = 50
_PAUSE_S = 0.01
# File times tick, and two processes may write across a rotation: this much earlier still counts as unread.
_SLACK_NS = 100_000_000


class Match(NamedTuple):
    """That a file holds what was read at a position, all of it if `exact`: read on `after`.

    `repeated` bytes are to be read again, since the file went on differently.
    """

    file: LogFile
    after: Fingerprint
    exact: bool
    repeated: int = 0


def start(log: str, at: str = "start") -> LogState:
    """The state of a log that was never read: `at` its "start" or its "end". Raises InputError.

    The generations that are there already are left out either way.
    """
    files = log_files(log)
    if not files:
        raise InputError(f"{log}: no such file, or not a regular one: only a file can be resumed")
    try:
        since_ns = max((file.mtime_ns + 1 for file in files if not file.live), default=0)
        tail = files[-1].last_line_end() if at == "end" and files[-1].live else START
        if not tail.offset:
            return LogState(since_ns=since_ns)
        return LogState((files[-1].position(tail.point),), since_ns)
    finally:
        close_all(files)


def resume(log: str, state: LogState, held: Sequence[LogFile] = ()) -> ReadPlan:
    """Find what was written since `state`, through rotations of any kind.

    A file is known again by device and inode and the hash of the bytes before the offset, or, copied or
    compressed, by that hash alone. Costs a few reads of 4 KiB whatever the size of the log, except where a
    compressed generation must be looked into. `held` are files kept open, in case their names are gone.
    Raises InputError where the log cannot be read.
    """
    for _ in range(_TRIES):
        held = [file.held() for file in held]
        files = log_files(log)
        inodes = {(file.device, file.inode) for file in files}
        nameless = [file for file in held if (file.device, file.inode) not in inodes]
        try:
            plan = _Search(log, state, [*nameless, *files]).result()
        except OvertakenError:
            close_all(files)
            time.sleep(_PAUSE_S)
        except BaseException:
            close_all([*held, *files])
            raise
        else:
            close_all([file for file in held if file not in nameless])
            return plan
    close_all(held)
    raise InputError(f"{log}: was rotated again and again while it was looked at; try again")


def _essence(state: LogState) -> tuple[object, ...]:
    """What is worth saving by itself: not that a file that is still written to has grown."""
    return state.since_ns, [position._replace(size=0, mtime_ns=0) for position in state.positions]


class _Search:
    """Where the files of a state are now, and which files are new."""

    def __init__(self, log: str, state: LogState, files: list[LogFile]) -> None:
        self.log, self.state, self.files = log, state, files
        self.live = files[-1] if files and files[-1].live else None
        self.plan = ReadPlan(log, state, files)
        self.claimed: list[LogFile] = []
        self.read = [position for position in state.positions if position.points]
        self.last = state.newest

    def result(self) -> ReadPlan:
        """Make the plan. Raises OvertakenError where the files changed meanwhile."""
        plan = self.plan
        if not self.files:
            plan.notes.append(f"{self.log}: is not there now, nor is a rotated generation of it")
        fit = self._newest(self.last) if self.last else None
        if fit is None or self.last is None or not fit.file.is_same_file(self.last):
            confirm(self.log, self.files)
        if fit:
            self.claimed.append(fit.file)
        for position in self.read[:-1]:
            if late := self._earlier(position):
                self._read_on(position, late)
        if fit and self.last:
            self._read_on(self.last, fit)
        goes_on = fit is None or fit.file is not self.live
        for file in [*self._unread(goes_on=goes_on), *([self.live] if goes_on and self.live else [])]:
            self._begin(file, late=not goes_on)
        if self.last and fit is None:
            self._say_missing(self.last)
        self._tidy()
        plan.moved = _essence(plan.state) != _essence(self.state)
        return plan

    def _newest(self, position: Position) -> Match | None:
        """The file where reading stopped: itself, else a copy of it, else the beginning of one."""
        same = [file for file in self.files if file.is_same_file(position)]
        best = None
        for file in itertools.chain(same, self._likely(same, position)):
            fit = self._fit(file, position)
            if fit and fit.exact:
                return fit
            best = best or fit
        return best

    def _likely(self, same: list[LogFile], position: Position) -> Iterator[LogFile]:
        """The other files, the most likely and the cheapest to look into first."""
        others = [file for file in self.files if file not in same and self._readable(file)]
        newer = position.mtime_ns - _SLACK_NS
        yield from sorted(others, key=lambda f: (f.kind != PLAIN, not f.live, not f.is_newer_than(newer)))

    def _earlier(self, position: Position) -> Match | None:
        """The file of an earlier position, if it may have got late lines or was compressed since."""
        for file in itertools.chain(
            (file for file in self.files if file.is_same_file(position)), self._packed(position)
        ):
            if file in self.claimed:
                continue
            read = position.done or file.size == position.offset
            if read and file.is_unchanged(position):
                self.claimed.append(file)
                return None
            if fit := self._fit(file, position):
                self.claimed.append(file)
                return fit
        return None

    def _packed(self, position: Position) -> Iterator[LogFile]:
        """The compressed files that may have been made of a position's file since."""
        for file in self.files:
            known = any(file.is_same_file(other) for other in self.read)
            if file.live or known or not file.is_newer_than(position.mtime_ns - _SLACK_NS):
                continue
            if self._readable(file) and file.kind != PLAIN:
                yield file

    def _fit(self, file: LogFile, position: Position) -> Match | None:
        if not self._readable(file):
            return None
        if position.done and file.is_unchanged(position):
            return Match(file, Fingerprint(position.offset, b""), exact=True)
        offsets = [point.offset for point in position.points]
        best, end, diverged = START, START, False
        for end in file.fingerprints(offsets):
            if end.point in position.points:
                best = end
            elif not best.offset:
                return None
            else:
                diverged |= end.offset in offsets
        if best.offset == position.offset:
            return Match(file, best, exact=True)
        if end.offset < position.offset and not diverged and not file.is_same_file(position):
            return Match(file, end, exact=False)  # a copy made on the way, all of it read
        return Match(file, best, exact=False, repeated=position.offset - best.offset) if best.offset else None

    def _read_on(self, position: Position, fit: Match) -> None:
        """Take up the file of a position, by the name and the numbers it has now."""
        plan, at = self.plan, self.state.positions.index(position)
        kept = tuple(point for point in position.points if point.offset < fit.after.offset)
        point = position.points[-1] if fit.exact else fit.after.point
        if fit.repeated:
            plan.notes.append(
                f"{fit.file.path}: is not as it was read after byte {point.offset:,} (the machine crashed?): "
                f"read from there again, up to {fit.repeated:,} bytes twice"
            )
        unchanged = fit.file.is_unchanged(position)
        current = fit.file.position(*kept, point)._replace(done=position.done and unchanged)
        plan.exchange(at, current)
        if not current.done and (fit.file.kind != PLAIN or fit.file.size > fit.after.offset):
            plan.spans.append(Span(fit.file, fit.after, self._finished(fit.file), at))

    def _begin(self, file: LogFile, *, late: bool) -> None:
        """Take up a file of which nothing was read: as the newest, unless its lines come late."""
        plan, at = self.plan, self._blank(file)
        if at is not None and late:
            plan.exchange(at, file.position())
        else:
            if at is not None:
                plan.exchange(at, _GONE)
            at = len(plan.state.positions)
            plan.state = plan.state._replace(positions=(*plan.state.positions, file.position()))
        plan.spans.append(Span(file, file.beginning(), self._finished(file), at))

    def _blank(self, file: LogFile) -> int | None:
        """The position of a file that was seen before it had a line."""
        positions = enumerate(self.state.positions)
        return next((at for at, one in positions if not one.points and file.is_same_file(one)), None)

    def _unread(self, *, goes_on: bool) -> Iterator[LogFile]:
        """The generations of which nothing was read, if the log `goes_on` after the newest position.

        Those came after it, and are not copies of what was read; else only those that had no line in them.
        """
        horizon = max(self.state.since_ns, self.last.mtime_ns - _SLACK_NS if self.last else 0)
        for file in self.files:
            if file.live or file in self.claimed or not self._readable(file):
                continue
            newer = goes_on and file.is_newer_than(horizon)
            late = file.size and self._blank(file) is not None
            if (newer or late) and not self._is_copy(file):
                yield file

    def _is_copy(self, file: LogFile) -> bool:
        """Whether it holds what was read, or what copytruncate has not yet truncated in the live file."""
        if self.live and file.kind == PLAIN and 0 < file.size <= self.live.size:
            at_its_end = [next(one.fingerprints([file.size])) for one in (file, self.live)]
            if at_its_end[0] == at_its_end[1]:
                return True
        return any(self._fit(file, position) for position in self.read)

    def _finished(self, file: LogFile) -> bool:
        """Whether nothing is written to it any more: it is compressed, or the log goes on in another file."""
        if file.live:
            return False
        return file.kind != PLAIN or bool(self.live and self.live.size)

    def _readable(self, file: LogFile) -> bool:
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
        at = self.state.positions.index(position)
        plan.exchange(at, _GONE)
        plan.state = plan.state._replace(since_ns=since_ns)

    def _tidy(self) -> None:
        """Keep the latest positions with and without lines, and those that are read on."""
        plan, positions = self.plan, self.plan.state.positions
        blank = [at for at, one in enumerate(positions) if not one.points and one is not _GONE]
        read = [at for at, one in enumerate(positions) if one.points]
        needed = [span.position for span in plan.spans]
        kept = sorted({*blank[-KEPT_FILES:], *read[-KEPT_FILES:], *needed})
        plan.state = plan.state._replace(positions=tuple(positions[at] for at in kept))
        plan.spans = [span._replace(position=kept.index(span.position)) for span in plan.spans]
