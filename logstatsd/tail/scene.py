"""Tell a person what became of a log: the sentences about what is lost, read twice or left out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.sources.compression import PLAIN
from logstatsd.sources.paths import split_rotation
from logstatsd.tail.cases import (
    CUT_SHORT,
    LOST,
    MAYBE_CUT,
    NOTES,
    OLDER_NAME,
    READ_TWICE,
    SLACK_NS,
    Case,
    Match,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from logstatsd.tail.checkpoint import LogState, Position
    from logstatsd.tail.rotated import LogFile


ABSURD_NS = 946_684_800 * 1_000_000_000
"""A time before the year 2000 tells nothing: a machine without a clock, or a mistaken `touch`."""


@dataclass(frozen=True)
class Scene:
    """The basis of a plan: the state as it was saved, and the files that are there now, oldest first."""

    log: str
    state: LogState
    files: Sequence[LogFile]

    @cached_property
    def known_numbers(self) -> dict[str, str]:
        """The identities that are known, by the numbers of the files."""
        return {identity[:12]: identity for identity in self.state.known}

    @property
    def live(self) -> LogFile | None:
        """The file that has the log's name."""
        return self.files[-1] if self.files and self.files[-1].live else None

    @property
    def horizon_ns(self) -> int:
        """The time from which on a rotated file may hold what is unread.

        A time of the future tells nothing: then it is that of the first run, or of the last loss.
        """
        last = self.state.newest
        told = last.mtime_ns - SLACK_NS if last and last.mtime_ns <= time.time_ns() else 0
        return max(self.state.since_ns, told)

    def may_be_unread(self, file: LogFile) -> bool:
        """Whether a rotated file came after what was read, as far as its time and the state tell."""
        timely = file.is_newer_than(self.horizon_ns) or file.mtime_ns < ABSURD_NS
        return timely and not (file.number in self.known_numbers and file.identity in self.state.known)

    @property
    def read(self) -> list[Position]:
        """The positions of the files of which a line was read; the last is where reading stopped."""
        return [position for position in self.state.positions if position.points]


class Outcome(NamedTuple):
    """What was found of a scene: the file in which reading stopped, those of all positions, and the new ones.

    The log `goes_on` in other files than the one in which reading stopped.
    """

    newest: Match | None
    found: Mapping[Position, Match]
    new: Sequence[LogFile]
    goes_on: bool


def case_of(scene: Scene, outcome: Outcome) -> Case | None:
    """Tell what became of the file in which reading stopped; None where nothing was read yet."""
    last = scene.state.newest
    if outcome.newest or last is None:
        return outcome.newest.case if outcome.newest else None
    if scene.live and scene.live.is_same_file(last):
        return Case.TRUNCATED
    return Case.CHANGED if any(file.is_same_file(last) for file in outcome.new) else Case.GONE


def is_truncated(scene: Scene, outcome: Outcome) -> bool:
    """Whether the live file is the one in which reading stopped, with other content."""
    last = scene.state.newest
    return bool(last and scene.live and outcome.goes_on and scene.live.is_same_file(last))


def loss_notes(scene: Scene, outcome: Outcome) -> Iterator[str]:
    """List the sentences about what is lost, read twice or left out."""
    if not scene.files:
        yield f"{scene.log}: is not there now, nor is a rotated generation of it"
    for file in scene.files:
        if file.problem:
            yield f"{file.problem}; its lines are left out"
    for one in outcome.found.values():
        if one.case is Case.REWRITTEN or (one is outcome.newest and one.case in NOTES):
            yield _found_note(scene, one)
    if cut := _cut(scene, outcome):
        yield cut
    yield from _older_by_name(outcome)
    if case_of(scene, outcome) in LOST:
        yield _lost(scene, outcome)


def _found_note(scene: Scene, one: Match) -> str:
    read = scene.state.newest.offset if scene.state.newest else 0
    return NOTES[one.case].format(path=one.file.path, at=one.after.offset, repeated=one.repeated, read=read)


def _lost(scene: Scene, outcome: Outcome) -> str:
    last, case = scene.state.newest, case_of(scene, outcome)
    if last is None or case is None:
        return ""
    changed = next((file.path.name for file in outcome.new if file.is_same_file(last)), "")
    count = f"{last.lines.total:,}" if last.lines else "all its"
    note = NOTES[case].format(path=scene.log, at=last.offset, changed=changed, count=count)
    rotated = [file.path.name for file in outcome.new if not file.live]
    names = ", ".join(rotated[:3]) + (", ..." if len(rotated) > 3 else "")
    return note + (READ_TWICE.format(names=names) if rotated and case is not Case.CHANGED else "")


def _cut(scene: Scene, outcome: Outcome) -> str:
    """Tell that a copy lacks what was in the log before it was truncated, as far as that is certain."""
    last, newest = scene.state.newest, outcome.newest
    if not newest or not last or newest.case is not Case.COPIED or not is_truncated(scene, outcome):
        return ""
    if newest.file.kind == PLAIN and newest.file.size < last.size:
        return CUT_SHORT.format(path=newest.file.path, how="is smaller than the log was then")
    if newest.file.ends_within_a_line():
        return CUT_SHORT.format(path=newest.file.path, how="ends within a line")
    return ""


def _older_by_name(outcome: Outcome) -> Iterator[str]:
    """Tell of the new files that by their names came before the one in which reading stopped."""
    newest = outcome.newest.file if outcome.newest else None
    if newest is None or newest.live or not newest.named or not outcome.goes_on:
        return
    base, age = split_rotation(newest.path.name)
    for file in outcome.new:
        other_base, other_age = split_rotation(file.path.name)
        numbered = all(one[1] or one[2] for one in (age, other_age))
        alike = base == other_base and len(age[1]) == len(other_age[1]) and numbered
        if not file.live and alike and other_age < age:
            yield OLDER_NAME.format(path=file.path, newest=newest.path.name)


def remarks(scene: Scene, outcome: Outcome) -> Iterator[str]:
    """List the sentences about what may be lost, which nothing can tell."""
    live = scene.live
    if live is None or not outcome.goes_on or case_of(scene, outcome) in {Case.TRUNCATED, Case.PART_COPIED}:
        return
    truncated = is_truncated(scene, outcome) or scene.state.truncated == live.key
    if truncated and not _cut(scene, outcome):
        yield MAYBE_CUT.format(path=scene.log)
