"""Reads blocks of JSON log lines into the same rows that `patterns` makes of text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logstatsd.formats import LogFormat, Row

_decode = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str).decode


class JsonReader:
    """Reads blocks of JSON lines of one format; the same interface as `patterns.TextReader`.

    Bytes that are not UTF-8 pass through, numbers keep the digits that the log has.
    """

    def __init__(self, log_format: LogFormat, roles: frozenset[str]) -> None:
        wanted = {id(token): role for role, token in log_format.chosen.items() if role in roles}
        self._keys = tuple((key, wanted[id(token)]) for key, token in log_format.keys if id(token) in wanted)
        self.columns = (*(role for _, role in self._keys), "rejected")
        self._nothing: Row = (b"",) * len(self._keys)
        self._clean = {
            role: clean for role, clean in _CLEAN.items() if not ("query" in roles and role == "target")
        }
        if "query" in roles:
            self._clean["request"] = _request

    def rows(self, block: bytes) -> list[Row]:
        """One row for every line of a block that ends with a newline."""
        lines = block.decode("utf-8", "surrogateescape").split("\n")
        lines.pop()
        try:  # one call for the whole block, each line in a list of its own so that none can join the next
            found = _decode("[[" + "],[".join(lines) + "]]")
        except (ValueError, RecursionError):
            found = []
        if len(found) != len(lines):
            found = [_object(line) for line in lines]
        return [self._row(item, line) for item, line in zip(found, lines, strict=True)]

    def again(self, line: bytes) -> Row | None:  # noqa: ARG002
        """JSON is not ambiguous: what was rejected stays so."""
        return None

    def _row(self, item: list[object], line: str) -> Row:
        if len(item) == 1 and isinstance(item[0], dict) and (row := self._values(item[0])) is not None:
            return row
        return (*self._nothing, _bytes(line))

    def _values(self, item: Mapping[str, object]) -> Row | None:
        values = []
        for key, role in self._keys:
            value = item.get(key)
            text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
            if role in self._clean:
                text = self._clean[role](text)
            values.append(_bytes(text))
            if role == "status" and not (len(text) == 3 and text.isdigit()):
                return None
        return (*values, b"")


def _object(line: str) -> list[object]:
    try:
        return [_decode(line)]
    except (ValueError, RecursionError):
        return []


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a surrogate pair, written as an escape
        return text.encode("utf-8", "replace")


def _request(request: str) -> str:
    """`GET /a?b=c HTTP/1.1` to `GET /a?b=c`; empty where it is not a request line."""
    method, _, rest = request.partition(" ")
    target, _, protocol = rest.partition(" ")
    if not target or not method.isascii() or (protocol and not protocol.startswith("HTTP/")):
        return ""
    return f"{method} {target}"


def _without_query(target: str) -> str:
    return target.partition("?")[0].partition("#")[0]


def _absent(address: str) -> str:
    """`-` where no upstream was asked; nginx's `escape=json` writes an empty value for that."""
    return "-" if address in ("", "-") else ""


_CLEAN = {
    "request": lambda request: _without_query(_request(request)),
    "target": _without_query,
    "upstream": _absent,
}
