"""Plan what of a log is unread: the rest of its rotated generations, in order, then the live file.

What is done in each case is the table in docs/resume.md; `cases` tells which one it is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.errors import InputError
from logstatsd.sources.compression import PLAIN
from logstatsd.tail.cases import (
    LOST,
    NOTES,
    SLACK_NS,
    START,
    Case,
    Match,
    match_earlier,
    match_file,
    match_newest,
)
from logstatsd.tail.checkpoint import KEPT_FILES, LogState, Position
from logstatsd.tail.plan import ReadPlan, Span
from logstatsd.tail.reading import Reading
from logstatsd.tail.rotated import LogFile, OvertakenError, close_all, confirm, log_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_TRIES = 50
_PAUSE_S = 0.01


def start(log: str, at: str = "start") -> LogState:
    """Make the state of a log that was never read: `at` its "start" or its "end". Raises InputError.

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


def resume(log: str, state: LogState, held: Sequence[LogFile] = ()) -> Reading:
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
            reading = Reading(plan_reading(Scene(log, state, [*nameless, *files])), [*nameless, *files])
        except OvertakenError:
            close_all(files)
            time.sleep(_PAUSE_S)
        except BaseException:
            close_all([*held, *files])
            raise
        else:
            close_all([file for file in held if file not in nameless])
            return reading
    close_all(held)
    raise InputError(f"{log}: was rotated again and again while it was looked at; try again")


class Scene(NamedTuple):
    """The basis of a plan: the state as it was saved, and the files that are there now, oldest first."""

    log: str
    state: LogState
    files: Sequence[LogFile]

    @property
    def live(self) -> LogFile | None:
        """The file that has the log's name."""
        return self.files[-1] if self.files and self.files[-1].live else None

    @property
    def read(self) -> list[Position]:
        """The positions of the files of which a line was read; the last is where reading stopped."""
        return [position for position in self.state.positions if position.points]


def plan_reading(scene: Scene) -> ReadPlan:
    """Plan what to read, by the cases of docs/resume.md. Raises OvertakenError where files changed meanwhile.

    The rest of the files that were read comes first, late lines of the earlier ones included. Where the log
    goes on in other files than the one in which reading stopped, those follow.
    """
    last = scene.state.newest
    newest = match_newest(last, scene.files) if last else None
    if newest is None or last is None or not newest.file.is_same_file(last):
        confirm(scene.log, scene.files)
    found = _match_all(scene, newest)
    goes_on = newest is None or newest.file is not scene.live
    new = [*_new_generations(scene, found, goes_on=goes_on)]
    if goes_on and scene.live:
        new.append(scene.live)
    positions = _positions(scene, found, new, goes_on=goes_on)
    spans = tuple(_spans(scene, found, new))
    case = _case(scene, newest)
    state = scene.state._replace(positions=_worth_keeping(positions, spans))
    if last and newest is None:  # it is not looked for again
        state = state._replace(since_ns=max(state.since_ns, last.mtime_ns - SLACK_NS))
    return ReadPlan(
        log=scene.log,
        case=case,
        state=state,
        spans=spans,
        notes=tuple(_notes(scene, found, case)),
        moved=_essence(state) != _essence(scene.state),
    )


def _match_all(scene: Scene, newest: Match | None) -> dict[Position, Match]:
    """Find the files of all positions, in their order; no file is taken for two."""
    found: dict[Position, Match] = {}
    taken = [newest.file] if newest else []
    for position in scene.read[:-1]:
        free = [file for file in scene.files if file not in taken]
        if late := match_earlier(position, free, scene.read):
            found[position] = late
            taken.append(late.file)
    if newest:
        found[scene.read[-1]] = newest
    return found


def _case(scene: Scene, newest: Match | None) -> Case | None:
    """Tell what became of the file in which reading stopped."""
    last = scene.state.newest
    if newest or last is None:
        return newest.case if newest else None
    return Case.TRUNCATED if scene.live and scene.live.is_same_file(last) else Case.GONE


# --- files of which nothing was read ----------------------------------------------------------------------


def _new_generations(scene: Scene, found: Mapping[Position, Match], *, goes_on: bool) -> Iterator[LogFile]:
    """List the rotated files of which nothing was read, if the log `goes_on` after the newest position.

    Those came after it, and are not copies of what was read; else only those that had no line in them.
    """
    last = scene.state.newest
    horizon_ns = max(scene.state.since_ns, last.mtime_ns - SLACK_NS if last else 0)
    taken = [one.file for one in found.values()]
    for file in scene.files:
        if file.live or file in taken or not file.is_readable:
            continue
        newer = goes_on and file.is_newer_than(horizon_ns)
        late = file.size and _blank(scene, file) is not None
        if (newer or late) and not _is_copy(scene, file):
            yield file


def _blank(scene: Scene, file: LogFile) -> Position | None:
    """Find the position of a file that was seen before it had a line."""
    return next((one for one in scene.state.positions if not one.points and file.is_same_file(one)), None)


def _is_copy(scene: Scene, file: LogFile) -> bool:
    """Whether it holds what was read, or what copytruncate has not yet truncated in the live file."""
    live = scene.live
    if live and file.kind == PLAIN and 0 < file.size <= live.size:
        at_its_end = [next(one.fingerprints([file.size])) for one in (file, live)]
        if at_its_end[0] == at_its_end[1]:
            return True
    return any(match_file(file, position) for position in scene.read)


# --- the plan ---------------------------------------------------------------------------------------------


def _positions(
    scene: Scene, found: Mapping[Position, Match], new: Sequence[LogFile], *, goes_on: bool
) -> list[Position]:
    """List the positions of all files as they are now: those found, and the new ones.

    A new file comes last, as the newest; or, where the log does not go on, in the place in which it was seen
    without a line. The file in which reading stopped is left out if it was not found.
    """
    blanks = {blank: file for file in new if (blank := _blank(scene, file))}
    positions = []
    for position in scene.state.positions:
        if position in found:
            positions.append(_position(position, found[position]))
        elif position in blanks:
            positions += [] if goes_on else [blanks[position].position()]
        elif position != scene.state.newest:
            positions.append(position)
    return positions + ([file.position() for file in new] if goes_on else [])


def _position(position: Position, one: Match) -> Position:
    """Give a position the numbers that its file has now."""
    if one.case is Case.UNCHANGED:
        return position
    kept = tuple(point for point in position.points if point.offset < one.after.offset)
    point = position.points[-1] if one.is_whole else one.after.point
    done = position.done and one.file.is_unchanged(position)
    return one.file.position(*kept, point)._replace(done=done)


def _spans(scene: Scene, found: Mapping[Position, Match], new: Sequence[LogFile]) -> Iterator[Span]:
    """List what to read: the rest of the files that were found, then the new ones."""
    for position, one in found.items():
        now = _position(position, one)
        if now.done or one.case is Case.UNCHANGED:
            continue
        if one.file.kind != PLAIN or one.file.size > one.after.offset:
            yield Span(one.file, one.after, _is_finished(scene, one.file), now)
    for file in new:
        yield Span(file, file.beginning(), _is_finished(scene, file), file.position())


def _is_finished(scene: Scene, file: LogFile) -> bool:
    """Whether nothing is written to it any more: it is compressed, or the log goes on in another file."""
    if file.live:
        return False
    return file.kind != PLAIN or bool(scene.live and scene.live.size)


def _worth_keeping(positions: Sequence[Position], spans: Sequence[Span]) -> tuple[Position, ...]:
    """Pick the latest positions with and without lines, and those that are read on."""
    blank = [one for one in positions if not one.points][-KEPT_FILES:]
    read = [one for one in positions if one.points][-KEPT_FILES:]
    kept = {*blank, *read, *(span.position for span in spans)}
    return tuple(one for one in positions if one in kept)


def _notes(scene: Scene, found: Mapping[Position, Match], case: Case | None) -> Iterator[str]:
    if not scene.files:
        yield f"{scene.log}: is not there now, nor is a rotated generation of it"
    for file in scene.files:
        if file.problem:
            yield f"{file.problem}; its lines are left out"
    for one in found.values():
        if one.case in NOTES:
            yield NOTES[one.case].format(path=one.file.path, at=one.after.offset, repeated=one.repeated)
    if case in LOST and scene.state.newest:
        yield NOTES[case].format(path=scene.log, at=scene.state.newest.offset)


def _essence(state: LogState) -> tuple[object, ...]:
    """Pick what is worth saving by itself: not that a file that is still written to has grown."""
    return state.since_ns, [position._replace(size=0, mtime_ns=0) for position in state.positions]
