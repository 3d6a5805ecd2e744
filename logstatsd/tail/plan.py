"""ReadPlan: what to read of a log now, in order, and the state of the log before that is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from logstatsd.sources.source import Chunk
    from logstatsd.tail.cases import Case
    from logstatsd.tail.checkpoint import LogState, Position
    from logstatsd.tail.rotated import Fingerprint, LogFile


class Portion(NamedTuple):
    """Whole lines of one file of a log, and the log's state to save once they are delivered.

    The chunk holds its bytes; it is empty where only the state moved.
    """

    log: str
    chunk: Chunk
    state: LogState


class Span(NamedTuple):
    """A file to read on `after` a tail. Of a `finished` one, a last line without newline stays without.

    The position of a `fresh` one, of which nothing was read, is not in the state before it is read.
    """

    file: LogFile
    after: Fingerprint
    finished: bool
    position: Position
    """The file's own in the state, to be moved as it is read."""
    fresh: bool = False


@dataclass(frozen=True)
class ReadPlan:
    """A plan of what to read of one log now, in order.

    `case` is what became of the file in which reading stopped, None where nothing was read yet. `notes` are
    sentences for a person about what is lost or read twice, `remarks` about what may be.
    `moved` tells whether the state is worth saving by itself.
    """

    log: str
    case: Case | None
    state: LogState
    spans: tuple[Span, ...]
    notes: tuple[str, ...]
    remarks: tuple[str, ...]
    moved: bool
