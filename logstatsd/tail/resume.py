"""Plan what of a log is unread: the rest of its rotated generations, in order, then the live file.

What is done in each case is the table in docs/resume.md; `cases` tells which one it is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from logstatsd.errors import InputError
from logstatsd.sources.compression import PLAIN
from logstatsd.tail.cases import START, Case, Match, match_earlier, match_edited, match_file, match_newest
from logstatsd.tail.checkpoint import LogState, Position
from logstatsd.tail.plan import ReadPlan, Span
from logstatsd.tail.reading import Reading, worth_keeping
from logstatsd.tail.rotated import LogFile, OvertakenError, close_all, confirm, log_files
from logstatsd.tail.scene import Outcome, Scene, case_of, is_truncated, loss_notes, remarks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_TRIES = 50
_PAUSE_S = 0.01
MOST_OPEN_FILES = 64
"""How many of the new files stay open, lest their names be gone when they are read."""


def start(log: str, at: str = "start") -> LogState:
    """Make the state of a log that was never read: `at` its "start" or its "end". Raises InputError.

    The generations that are there already are left out either way, also if they are touched later.
    """
    files = log_files(log)
    if not files:
        raise InputError(f"{log}: no such file, or not a regular one: only a file can be resumed")
    try:
        rotated = [file for file in files if not file.live]
        since_ns = min(max((file.mtime_ns + 1 for file in rotated), default=0), time.time_ns())
        state = LogState(since_ns=since_ns, known=frozenset(filter(None, map(identity_of, rotated))))
        tail = files[-1].last_line_end() if at == "end" and files[-1].live else START
        if not tail.offset:
            return state
        return state._replace(positions=(files[-1].position(tail.point)._replace(lines=None),))
    finally:
        close_all(files)


def identity_of(file: LogFile) -> str:
    """Look into a file for its identity; nothing where it cannot be read now."""
    try:
        return file.identity
    except (OvertakenError, InputError):
        return ""


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
    if goes_on and scene.live and scene.live.is_readable:
        _ = scene.live.head  # before anything is taken for a copy of it
    new = [*_new_generations(scene, found, goes_on=goes_on)]
    if goes_on and scene.live:
        new.append(scene.live)
    outcome = Outcome(newest, found, new, goes_on)
    spans = tuple(_spans(scene, outcome))
    state = _state(scene, outcome, spans)
    return ReadPlan(
        log=scene.log,
        case=case_of(scene, outcome),
        state=state,
        spans=spans,
        notes=tuple(loss_notes(scene, outcome)),
        remarks=tuple(remarks(scene, outcome)),
        moved=state.essence != scene.state.essence,
    )


def _match_all(scene: Scene, newest: Match | None) -> dict[Position, Match]:
    """Find the files of all positions, in their order; no file is taken for two."""
    found: dict[Position, Match] = {}
    taken = [newest.file] if newest else []
    unknown = [file for file in scene.files if file.number not in scene.known_numbers]
    for position in scene.read[:-1]:
        same = [file for file in scene.files if file.is_same_file(position) and file not in taken]
        others = [file for file in unknown if file not in taken]
        if late := match_earlier(position, [*same, *others], scene.read):
            found[position] = late
            taken.append(late.file)
    if newest:
        found[scene.read[-1]] = newest
    return found


# --- files of which nothing was read ----------------------------------------------------------------------


def _new_generations(scene: Scene, found: Mapping[Position, Match], *, goes_on: bool) -> Iterator[LogFile]:
    """List the rotated files of which nothing was read, if the log `goes_on` after the newest position.

    Those came after it, and are not copies of what was read; else only those that had no line in them.
    """
    held = 0
    taken = [one.file for one in found.values()]
    for file in scene.files:
        if file.live or file in taken:
            continue
        newer = goes_on and scene.may_be_unread(file)
        late = file.size and _blank(scene, file) is not None
        if (newer or late) and file.is_readable and not _is_copy(scene, file):
            _ = file.head
            yield file
            held += 1
        if held > MOST_OPEN_FILES and file.named:
            file.close()


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
    return any(match_file(file, one) or match_edited(file, one) for one in scene.read)


# --- the plan ---------------------------------------------------------------------------------------------


def _state(scene: Scene, outcome: Outcome, spans: Sequence[Span]) -> LogState:
    """Make the state before anything is read: where the files that were found are, and what is known."""
    positions = (*_positions(scene, outcome),)
    state, live = scene.state._replace(positions=positions), scene.live
    state = state._replace(positions=worth_keeping(positions, spans))
    if outcome.newest is None:  # it is not looked for again
        state = state._replace(since_ns=scene.horizon_ns)
    if live and state.truncated != live.key:
        state = state._replace(truncated=live.key if is_truncated(scene, outcome) else None)
    return state._replace(known=frozenset(_known(scene, outcome, spans)))


def _known(scene: Scene, outcome: Outcome, spans: Sequence[Span]) -> Iterator[str]:
    """List the identities of the rotated files of which nothing is to be read any more."""
    unread = {id(file) for file in (*outcome.new, *(span.file for span in spans))}
    read = {id(one.file) for one in outcome.found.values()}
    for file in scene.files:
        if file.live or not file.named or file.problem or id(file) in unread:
            continue
        passed = id(file) in read or not scene.may_be_unread(file)
        if passed and (identity := scene.known_numbers.get(file.number) or identity_of(file)):
            yield identity


def _positions(scene: Scene, outcome: Outcome) -> Iterator[Position]:
    """List the positions of the files that were found as they are now, and of those not seen with a line.

    The file in which reading stopped is left out if it was not found.
    """
    blanks = {blank: file for file in outcome.new if (blank := _blank(scene, file))}
    for position in scene.state.positions:
        if position in outcome.found:
            yield _position(position, outcome.found[position])
        elif position in blanks and not outcome.goes_on:
            yield blanks[position].position()
        elif position != scene.state.newest:
            yield position


def _position(position: Position, one: Match) -> Position:
    """Give a position the numbers that its file has now."""
    if one.case is Case.UNCHANGED:
        return position
    kept = tuple(point for point in position.points if point.offset < one.after.offset)
    if one.case is Case.EDITED:
        kept = ()
    done = position.done and one.file.is_unchanged(position)
    lines = position.lines if one.is_whole else None
    return one.file.position(*kept, one.after.point)._replace(done=done, lines=lines)


def _spans(scene: Scene, outcome: Outcome) -> Iterator[Span]:
    """List what to read: the rest of the files that were found, then the new ones."""
    for position, one in outcome.found.items():
        now = _position(position, one)
        if now.done or one.case is Case.UNCHANGED:
            continue
        if one.file.kind != PLAIN or one.file.size > one.after.offset:
            yield Span(one.file, one.after, _is_finished(scene, one.file), now)
    for file in outcome.new:
        finished = _is_finished(scene, file)
        yield Span(file, file.beginning(), finished, file.position(), fresh=outcome.goes_on)


def _is_finished(scene: Scene, file: LogFile) -> bool:
    """Whether nothing is written to it any more: it is compressed, or the log goes on in another file."""
    if file.live:
        return False
    return file.kind != PLAIN or bool(scene.live and scene.live.size)
