"""Tell what became of a file that was read: the cases of docs/resume.md, by device, inode and content."""

from __future__ import annotations

import itertools
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.sources.compression import PLAIN
from logstatsd.tail.lines import find_edited
from logstatsd.tail.rotated import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from logstatsd.tail.checkpoint import Position
    from logstatsd.tail.rotated import LogFile

START = Fingerprint(0, b"")
# File times tick, and two processes may write across a rotation: this much earlier still counts as unread.
SLACK_NS = 100_000_000


class Case(Enum):
    """The fate of a file that was read: a row of the table in docs/resume.md."""

    UNCHANGED = "unchanged"
    KEPT = "kept"
    RENAMED = "renamed"
    COPIED = "copied"
    COMPRESSED = "compressed"
    EDITED = "edited"
    PART_COPIED = "part copied"
    REWRITTEN = "rewritten"
    TRUNCATED = "truncated"
    CHANGED = "changed"
    GONE = "gone"


WHOLE = frozenset({Case.UNCHANGED, Case.KEPT, Case.RENAMED, Case.COPIED, Case.COMPRESSED, Case.EDITED})
"""The cases in which a file holds all that was read."""
LOST = frozenset({Case.TRUNCATED, Case.CHANGED, Case.GONE})
"""The cases in which no file holds any of it."""

NOTES = {
    Case.PART_COPIED: "{path}: is a copy of the log that ends at byte {at:,}, before byte {read:,} to which "
    "that was read; the log was truncated since: what was written to it in between is lost (copytruncate)",
    Case.REWRITTEN: "{path}: is not as it was read after byte {at:,} (the machine crashed?): "
    "read from there again, up to {repeated:,} bytes twice",
    Case.TRUNCATED: "{path}: the file in which the last run stopped (at byte {at:,}) was truncated, and no "
    "copy of it is left: what was written to it since is lost; going on with the next file",
    Case.CHANGED: "{path}: the file in which the last run stopped (at byte {at:,}) has other content now: "
    "{changed} is read from its start, up to {count} lines twice",
    Case.GONE: "{path}: the file in which the last run stopped (at byte {at:,}) is gone, and so is every "
    "copy of it: what was written to it since is lost; going on with the next file",
}
"""The sentences for a person; of all other cases, nothing is said."""
READ_TWICE = "; if {names} is that file, edited since, its lines are sent twice"
"""The rest of the sentence where a file is lost and rotated files are read from their start."""
CUT_SHORT = (
    "{path}: the log was truncated after this copy of it was made, and the copy {how}: "
    "what was written in between is lost (copytruncate)"
)
MAYBE_CUT = (
    "{path}: seems to have been copied and truncated (copytruncate): what was written between a copy "
    "and its truncation, if anything, is in no file"
)
OLDER_NAME = (
    "{path}: is older than {newest} by its name and newer by its time: read from its start; "
    "lines that were sent before are sent twice"
)


class Match(NamedTuple):
    """A file that holds what was read at a position, or the beginning of that: read on `after`.

    `repeated` bytes are to be read again, since the file went on differently.
    """

    file: LogFile
    case: Case
    after: Fingerprint
    repeated: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether the file holds all that was read at the position."""
        return self.case in WHOLE


def match_file(file: LogFile, position: Position) -> Match | None:
    """Compare a file with what was read at a position; None where it holds nothing of it."""
    if not file.is_readable:
        return None
    if position.done and file.is_unchanged(position):
        return _unchanged(file, position)
    agreed = _agreement(file, position)
    if agreed is None:
        return None
    best, end, diverged = agreed
    if best.offset == position.offset:
        return Match(file, _whole(file, position), best)
    if end.offset < position.offset and not diverged and not file.is_same_file(position):
        return Match(file, Case.PART_COPIED, end)
    return Match(file, Case.REWRITTEN, best, repeated=position.offset - best.offset)


def _agreement(file: LogFile, position: Position) -> tuple[Fingerprint, Fingerprint, bool] | None:
    """Find the last point at which a file is as it was read, its last one, and whether it differs between.

    None where it differs from the start, or is too short to tell.
    """
    offsets = [point.offset for point in position.points]
    best, end, diverged = START, START, False
    for end in file.fingerprints(offsets):
        if end.point in position.points:
            best = end
        elif not best.offset:
            return None
        else:
            diverged |= end.offset in offsets
    return best, end, diverged


def _whole(file: LogFile, position: Position) -> Case:
    """Tell the case of a file that holds all that was read at a position."""
    if file.is_same_file(position):
        return Case.KEPT if file.live else Case.RENAMED
    return Case.COPIED if file.kind == PLAIN else Case.COMPRESSED


def _unchanged(file: LogFile, position: Position) -> Match:
    return Match(file, Case.UNCHANGED, Fingerprint(position.offset, b""))


def match_edited(file: LogFile, position: Position) -> Match | None:
    """Compare a file with what was read at a position but for the addresses, which may be anonymous now."""
    if not file.is_readable or position.lines is None:
        return None
    end = find_edited(file, position.lines, file.beginning())
    if end is None:
        return None
    after = next(file.fingerprints([end]))
    return Match(file, Case.EDITED, after) if after.offset == end else None


def match_newest(position: Position, files: Sequence[LogFile]) -> Match | None:
    """Find the file where reading stopped: itself, else a copy of it, an edited one, or the beginning of one.

    Of the files that are looked into, only the one that is found stays open.
    """
    same = [file for file in files if file.is_same_file(position)]
    part = None
    for match in (match_file, match_edited):
        for file in itertools.chain(same, _likely_copies(position, files)):
            found = match(file, position)
            if found and found.is_whole:
                return found
            part = part or found
            close_unless(file, part)
    return part


def close_unless(file: LogFile, found: Match | None) -> None:
    """Close a file that was looked into, if it is not the one that was found, nor the live one."""
    if file.named and not file.live and (found is None or found.file is not file):
        file.close()


def _likely_copies(position: Position, files: Iterable[LogFile]) -> Iterator[LogFile]:
    """List the other files, the most likely and the cheapest to look into first."""
    others = [file for file in files if not file.is_same_file(position)]
    newer = position.mtime_ns - SLACK_NS
    yield from sorted(others, key=lambda f: (f.is_named_compressed, not f.live, not f.is_newer_than(newer)))


def match_earlier(position: Position, files: Sequence[LogFile], read: Sequence[Position]) -> Match | None:
    """Find the file of an earlier position, which may have got late lines or was compressed since.

    `read` are all positions: a file that belongs to one of them is no other's copy.
    """
    same = [file for file in files if file.is_same_file(position)]
    for file in itertools.chain(same, _compressed_since(position, files, read)):
        all_read = position.done or file.size == position.offset
        if all_read and file.is_unchanged(position):
            return _unchanged(file, position)
        if found := match_file(file, position) or match_edited(file, position):
            return found
        close_unless(file, None)
    return None


def _compressed_since(
    position: Position, files: Iterable[LogFile], read: Sequence[Position]
) -> Iterator[LogFile]:
    for file in files:
        if file.live or not file.is_newer_than(position.mtime_ns - SLACK_NS):
            continue
        if any(file.is_same_file(other) for other in read):
            continue
        if file.is_readable and file.kind != PLAIN:
            yield file
