"""Read blocks of JSON log lines into the same rows that `text_reader` makes of text."""

from __future__ import annotations

import json
import re
from itertools import repeat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from logstatsd.formats.logformat import LogFormat, Row

FEW = 16
_OPENING = frozenset("{ \t")

_decode = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str, strict=False).decode


def objects(block: bytes) -> tuple[list[str], list[object]]:
    """Parse the lines of a block that ends with a newline: each line, and its JSON, None where it is none.

    Bytes that are not UTF-8 pass through as lone surrogates, numbers are strings of the log's own digits.
    """
    lines = block.decode("utf-8", "surrogateescape").split("\n")
    lines.pop()
    return lines, _decoded([line if line[:1] in _OPENING else "null" for line in lines])


def _decoded(lines: list[str]) -> list[object]:
    """Parse each line: all in one call; where one is no JSON, all but that one in a few calls."""
    try:  # each line in a list of its own, so that none can join the next
        found = _decode("[[" + "],[".join(lines) + "]]")
    except (ValueError, RecursionError):
        found = []
    if len(found) == len(lines):
        return [item[0] if len(item) == 1 else None for item in found]
    if len(lines) < FEW:
        return [_object(line) for line in lines]
    middle = len(lines) // 2
    return _decoded(lines[:middle]) + _decoded(lines[middle:])


def _object(line: str) -> object:
    try:
        return _decode(line)
    except (ValueError, RecursionError):
        return None


def to_bytes(text: str) -> bytes:
    """Give back the bytes that `objects` had made a string of."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a surrogate pair, written as an escape
        return text.encode("utf-8", "replace")


class JsonReader:
    """A reader of blocks of JSON lines of one format, with the interface of `text_reader.TextReader`."""

    def __init__(self, log_format: LogFormat, roles: frozenset[str]) -> None:
        wanted = [(role, token) for role, token in log_format.chosen.items() if role in roles]
        keys = [(key, role) for key, token in log_format.keys for role, taken in wanted if taken is token]
        self.columns = (*(role for _, role in keys), "rejected")
        self._nothing: Row = (b"",) * len(keys)
        clean = _CLEAN | ({"request": _request, "target": _whole} if "query" in roles else {})
        self._keys = [(key, key.split("."), clean.get(role, _whole)) for key, role in keys]
        self._status = self.columns.index("status")

    def rows(self, block: bytes) -> list[Row]:
        """One row for every line of a block that ends with a newline."""
        lines, items = objects(block)
        fitting = iter(self._fitting([item for item in items if isinstance(item, dict)]))
        rows = [next(fitting) if isinstance(item, dict) else None for item in items]
        return [row or (*self._nothing, to_bytes(line)) for row, line in zip(rows, lines, strict=True)]

    def again(self, line: bytes) -> Row | None:
        """Try a line once more, with the usual faults of format strings that only look like JSON undone."""
        if not line.lstrip().startswith(b"{"):
            return None
        for faults in REPAIRS:
            for fault, right in faults:
                line = fault.sub(right, line)
            item = _object(line.decode("utf-8", "surrogateescape"))
            if isinstance(item, dict):
                return self._fitting([item])[0]
        return None

    def _fitting(self, items: list[dict[str, object]]) -> list[Row | None]:
        """The rows of some objects, None for one without a status; by columns, whose values recur."""
        columns = []
        for key, path, clean in self._keys:
            # a line without such a key was logged before the server had it, and says nothing about it
            absent = _UNSAID if clean is _absent else None
            values = [item.get(key, absent) for item in items]
            if len(path) > 1:
                values = [
                    _within(item, path, absent) if value is absent else value
                    for item, value in zip(items, values, strict=True)
                ]
            texts = [value if isinstance(value, str) else _text(value) for value in values]
            known = {text: to_bytes(clean(text)) for text in set(texts)}
            columns.append([known[text] for text in texts])
        rows = zip(*columns, repeat(b""), strict=False)
        wrong = {text for text in set(columns[self._status]) if len(text) != 3 or not text.isdigit()}
        if not wrong:
            return list(rows)
        return [None if row[self._status] in wrong else row for row in rows]


def _text(value: object) -> str:
    return "" if value is None else json.dumps(value)


def _within(item: object, path: list[str], absent: str | None) -> object:
    """Find what is at `outer.inner` of nested objects."""
    for key in path:
        item = item.get(key, absent) if isinstance(item, dict) else absent
    return item


def _byte(match: re.Match[bytes]) -> bytes:
    """Read what `\\xHH` stands for, as JSON can have it."""
    code = int(match[1], 16)
    return b"\\u%04x" % code if code < 0x80 else bytes([code])


def _literal_backslashes(match: re.Match[bytes]) -> bytes:
    """Escape backslashes but for the one before a quote, unless that quote ends its value."""
    literal, quote, ends_value = len(match[1]), match[2] or b"", match[3] is not None
    if quote and not ends_value:
        return rb"\\" * (literal - 1) + rb"\""
    return rb"\\" * literal + quote


_ITEM = rb"(?:\d[\d.]*+|-)"
_END = rb'(\s*+(?:,\s*+"[\w.@-]++"\s*+:|\}\s*+$))'
_Repair = tuple[re.Pattern[bytes], "bytes | Callable[[re.Match[bytes]], bytes]"]

REPAIRS: tuple[tuple[_Repair, ...], ...] = (
    (
        # nginx without escape=json; and unquoted: a list of nginx's, and what is logged as nothing or `-`
        (re.compile(rb"\\x([0-9A-Fa-f]{2})"), _byte),
        (re.compile(rb'"\s*+:\s*+(' + _ITEM + rb"(?:(?:, | : )" + _ITEM + rb")++)(?=\s*+[,}])"), rb'":"\1"'),
        (re.compile(rb'"\s*+:\s*+(?:-\s*+)?+(?=[,}])'), rb'":null'),
    ),
    # gunicorn escapes quotes but not backslashes; a backslash that ends a value stands before what ends it
    ((re.compile(rb'(\\++)(?:(")(?=' + _END + rb"?+))?+"), _literal_backslashes),),
)
"""What servers write that only looks like JSON, and how it is read: what loses nothing, then a guess."""


def _whole(text: str) -> str:
    return text


def _request(request: str) -> str:
    """Cut `GET /a?b=c HTTP/1.1` to `GET /a?b=c`; empty where it is not a request line."""
    method, _, rest = request.partition(" ")
    target, _, protocol = rest.partition(" ")
    if not target or not method.isascii() or (protocol and not protocol.startswith("HTTP/")):
        return ""
    return f"{method} {target}"


def _without_query(target: str) -> str:
    return target.partition("?")[0].partition("#")[0]


_UNSAID = "unsaid"


def _absent(address: str) -> str:
    """Write `-` where no upstream was asked; nginx's `escape=json` writes an empty value for that."""
    return "-" if address in ("", "-") else ""


_CLEAN = {
    "request": lambda request: _without_query(_request(request)),
    "target": _without_query,
    "upstream": _absent,
}
