"""Make the reader of a format: it turns blocks of bytes into rows of what is wanted of each line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from logstatsd.formats.envelopes import ENVELOPES
from logstatsd.formats.json_reader import JsonReader
from logstatsd.formats.text_reader import TextReader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from logstatsd.formats.logformat import LogFormat, Row


class Reader(Protocol):
    """A function from a block of whole lines to rows of the columns it names; `rejected` is the last one.

    A line that does not fit gives a row that is empty but for `rejected`; `again` looks at such a line once
    more, leniently.
    """

    columns: tuple[str, ...]

    def rows(self, block: bytes) -> list[Row]: ...
    def again(self, line: bytes) -> Row | None: ...


def reader_of(log_format: LogFormat, roles: Iterable[str]) -> Reader:
    """Make the reader of a format; only the `roles` asked for become columns."""
    kind = JsonReader if log_format.is_json else TextReader
    reader: Reader = kind(log_format, frozenset(roles))
    return EnvelopeReader(reader, log_format.envelopes) if log_format.envelopes else reader


class EnvelopeReader:
    """A reader of the lines within what carries them; rejected ones are given as the server wrote them."""

    def __init__(self, inner: Reader, envelopes: tuple[str, ...]) -> None:
        self.columns = inner.columns
        self._inner = inner
        self._envelopes = envelopes

    def rows(self, block: bytes) -> list[Row]:
        return self._inner.rows(unwrap(block, self._envelopes))

    def again(self, line: bytes) -> Row | None:
        return self._inner.again(unwrap(line + b"\n", self._envelopes)[:-1])


def unwrap(block: bytes, envelopes: Iterable[str]) -> bytes:
    """Take off what carries whole lines; as many lines are left."""
    for name in envelopes:
        block = ENVELOPES[name].unwrap(block)
    return block


def why(log_format: LogFormat, line: bytes) -> str:
    """Choose the reason to give for a line that does not fit its format."""
    parts = (ENVELOPES[name].part for name in log_format.envelopes)
    if any(part and part.match(line) for part in parts):
        return "part of a line"
    return "no match" if line.strip() else "empty"
