"""Compile a LogFormat to one bytes pattern that reads whole blocks of its lines."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

from logstatsd.formats.logformat import LogFormat, Row, Token

if TYPE_CHECKING:
    from collections.abc import Callable

_METHOD = rb"[A-Za-z0-9!#$%&'*+.^_`|~-]++"
_PROTOCOL = rb"(?: HTTP/\d[\d.]*+)?+"
_SIGNED = "signature and status"
_OF_UPSTREAM = "upstream and duration"
_TWO_COLUMNS = {_SIGNED: ["signature", "status"], _OF_UPSTREAM: ["upstream", "duration"]}
_WITH_QUERY = "request with query"

_SHAPES = {
    "dash": rb"-",
    "status": rb"\d{3}",
    "clf": rb"\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}",
    "clf_bracketed": rb"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]",
    "took": rb"\d++ (?:msecs|micros|secs)",
    "ctime": rb"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}",
    "http_server": rb"\d\d/\w{3}/\d{4} \d\d:\d\d:\d\d",
    "iso": rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[+-]\d\d:\d\d|Z)",
}
"""Kinds of value whose shape does not depend on where they stand."""

_WORDS = {"word": b"", "decimal": rb"(?:\d{1,15}\.\d{3,6}|-)", "integer": rb"(?:\d{1,18}|-)"}
"""Kinds of value without spaces, and what one looks like where that helps to tell where a text ends."""

_INSIDE_WORDS = frozenset(":-._/=+@%")
"""What a value without spaces may hold besides letters and digits: an address, a host, `HTTP/1.1`."""


class TextReader:
    """A reader of blocks of lines of one text format: the columns asked for, in the order of the line.

    `columns` names the captured roles; the last one, `rejected`, holds the line where it does not fit the
    format, and then all others are empty. No pattern here backtracks over more than one variable, so a line
    takes time linear in its length.
    """

    def __init__(self, log_format: LogFormat, roles: frozenset[str]) -> None:
        captured, self.columns = _captured(log_format, roles)
        self.ends = _ends(log_format)
        """Bytes of which one is the last of every line whose values are sound; empty for any."""
        self._line = _line(log_format, captured, loose=False)
        # `re` passes over a class of one character in a tight loop; see `rows` for why that is right
        self._fast = _findall(self._line.replace(rb'[^"\n]', rb'[^"]'))
        self._lenient_line = _line(log_format, captured, loose=True)

    @property
    def grammar(self) -> tuple[bytes, tuple[str, ...]]:
        """The pattern of a line without its end, and the roles of its groups."""
        return self._line, self.columns[:-1]

    @property
    def has_second_look(self) -> bool:
        """Whether a line that does not fit may be read leniently."""
        return self._lenient_line != self._line

    @cached_property
    def _strict(self) -> Callable[[bytes], list[Row]]:
        return _findall(self._line)

    @cached_property
    def _loose(self) -> re.Pattern[bytes]:
        return re.compile(self._lenient_line + rb"\r?\n()")

    def rows(self, block: bytes) -> list[Row]:
        """One row for every line of a block that ends with a newline.

        The fast pattern lets a quoted value run on over the end of a broken line. Each row takes one newline
        for each line that it spans, so as many rows as newlines means that none did.
        """
        rows = self._fast(block)
        return rows if len(rows) == block.count(b"\n") else self._strict(block)

    def again(self, line: bytes) -> Row | None:
        """Try a rejected line once more, leniently where the server's own escaping is ambiguous."""
        if self._lenient_line == self._line:
            return None
        match = self._loose.fullmatch(line + b"\n")
        return tuple(group or b"" for group in match.groups()) if match else None


def _ends(log_format: LogFormat) -> bytes:
    """The bytes with which a line may end, as its last variable or literal tells; empty for any."""
    last = log_format.tokens[-1]
    if isinstance(last, str):
        return last.encode()[-1:]
    return b"0123456789.-" if last.field.kind in {"decimal", "integer", "number", "status"} else b""


def _findall(line: bytes) -> Callable[[bytes], list[Row]]:
    return re.compile(b"(?:" + line + rb"\r?\n|([^\n]*+)\n)").findall


def _captured(log_format: LogFormat, roles: frozenset[str]) -> tuple[dict[int, str], tuple[str, ...]]:
    """Choose which tokens to capture, by position, and the columns that gives."""
    chosen = {id(token): role for role, token in log_format.chosen.items() if role in roles}
    captured, columns = {}, []
    variants = {"request": _WITH_QUERY} if "query" in roles else {}
    variants |= {"status": _SIGNED} if "signature" in roles and _signature(log_format) else {}
    if {"upstream", "duration"} <= roles and log_format.chosen.get("upstream") is log_format.chosen.get(
        "duration"
    ):
        variants |= dict.fromkeys(("upstream", "duration"), _OF_UPSTREAM)
    for n, token in enumerate(log_format.tokens):
        if isinstance(token, Token) and (role := chosen.get(id(token))):
            captured[n] = variants.get(role, role)
            columns += _TWO_COLUMNS.get(captured[n], [role])
    return captured, (*columns, "rejected")


def _line(log_format: LogFormat, captured: dict[int, str], *, loose: bool) -> bytes:
    """The pattern of a line without its end.

    gunicorn escapes `"` but not the backslash, so a quoted value that ends in a backslash reads on past its
    end. The loose pattern passes over a stretch of such values at once, up to where the last of them ends.
    """
    tokens = log_format.tokens
    skipped = _ambiguous_stretch(log_format, captured) if loose else range(0)
    pattern = b""
    for n, token in enumerate(tokens):
        if n in skipped:
            pattern += b"[^\n]*" if n == skipped[0] else b""
        elif isinstance(token, str):
            pattern += re.escape(token.encode())
        else:
            pattern += _value(log_format, n, captured.get(n, ""))
    return pattern


def _ambiguous_stretch(log_format: LogFormat, captured: dict[int, str]) -> range:
    """Positions of the last uncaptured run of tokens from one quoted free text to another."""
    if log_format.server != "gunicorn":
        return range(0)
    tokens = log_format.tokens
    quoted = [
        n
        for n, token in enumerate(tokens)
        if isinstance(token, Token)
        and n not in captured
        and token.field.kind == "text"
        and _is_quoted(tokens, n)
    ]
    if not quoted:
        return range(0)
    first = last = quoted[-1]
    while first - 1 in range(1, len(tokens)) and first - 1 not in captured:
        first -= 1
    return range(min((n for n in quoted if n >= first), default=last), last + 1)


def _is_quoted(tokens: tuple[str | Token, ...], n: int) -> bool:
    before, after = tokens[n - 1] if n else "", tokens[n + 1] if n + 1 < len(tokens) else ""
    return (
        isinstance(before, str) and before.endswith('"') and isinstance(after, str) and after.startswith('"')
    )


def _value(log_format: LogFormat, n: int, role: str) -> bytes:
    """The pattern of the variable at position `n`, with a group where it is captured."""
    shape = _shape(log_format, n)
    if role in ("request", _WITH_QUERY):
        return _request(log_format, n, shape, query=role == _WITH_QUERY)
    if role == "upstream":  # all that matters is whether there was one
        return rb"(?:(-)(?=" + _next(log_format, n) + rb")|" + shape + rb")"
    if role == _OF_UPSTREAM:
        return rb"(?:(?=(-)" + _next(log_format, n) + rb")|)(" + shape + b")"
    if role == _SIGNED:
        return rb"(?:(?=(" + _signature(log_format) + rb"))|)(" + shape + b")"
    return b"(" + shape + b")" if role else shape


def _shape(log_format: LogFormat, n: int) -> bytes:
    """The pattern of the values of the variable at position `n`, given what stands around it."""
    tokens = log_format.tokens
    is_status = log_format.chosen.get("status") is tokens[n]
    kind = "status" if is_status else tokens[n].field.kind  # type: ignore[union-attr]
    literal = _literal_after(tokens, n)
    if fixed := _SHAPES.get(kind) or log_format.rules.value:
        return fixed
    if kind == "number":
        return rb"-?+[\d.]*+" if literal[:1] == "-" else rb"[-\d.]*+"
    if kind == "list":
        return _list(literal)
    if kind in _WORDS and not _runs_on(literal):
        return _no_space(literal) + b"*+"
    quoted = _is_quoted(tokens, n) and log_format.rules.quoted
    return quoted or _free(log_format, n, kind, literal)


def _free(log_format: LogFormat, n: int, kind: str, literal: str) -> bytes:
    """The pattern of a value that ends where what comes next begins."""
    if not literal and n + 1 < len(log_format.tokens):  # only a query touches it, see `LogFormat.chosen`
        return rb'[^? "\n]*+'
    if not literal:
        return rb"[^\n]*+"
    if literal[0] == "\t":
        return rb"[^\t\n]*+"
    inside = rb'[^ "\n]' if kind in _WORDS else rb"[^\n]"
    value = rb"(?>" + inside + rb"*?(?=" + _next(log_format, n) + rb"))"
    return rb"(?:-(?=" + re.escape(literal.encode()) + rb")|" + value + rb")"  # nearly always there is none


def _runs_on(literal: str) -> bool:
    """Whether a value without spaces may go on after what looks like the literal that ends it."""
    return bool(literal) and (literal[0].isalnum() or literal[0] in _INSIDE_WORDS)


def _no_space(literal: str) -> bytes:
    return b'[^ "\r\n' + re.escape(literal[:1].encode()) + b"]"


def _list(literal: str) -> bytes:
    """Match values joined by `, ` and ` : `, up to the literal; an IPv6 address may hold one that is `]`."""
    part = b"[^ ," + _no_space(literal)[3:] + b"*+"
    part += rb"(?:\](?=[:,])" + part + rb")*+" if literal[:1] == "]" else b""
    return part + rb"(?:(?:, | : )" + part + rb")*+"


def _next(log_format: LogFormat, n: int) -> bytes:
    """Match what must follow the variable at `n`: literals, and values with a shape, up to a free text.

    After a quoted value the next one is enough. Repetition is bounded, since this is tried at every position
    of the variable's value.
    """
    tokens = log_format.tokens
    stop = min(n + 4, len(tokens)) if _is_quoted(tokens, n) else len(tokens)
    pattern = b""
    for m in range(n + 1, stop):
        token = tokens[m]
        if isinstance(token, str):
            pattern += re.escape(token.encode())
        elif token.field.kind in ("text", "request") or _runs_on(_literal_after(tokens, m)):
            return pattern
        else:
            shape = _WORDS.get(token.field.kind) or _shape(log_format, m)
            pattern += shape.replace(b")*+", b"){0,16}+").replace(b"*+", b"{0,256}+")
    return pattern if stop < len(tokens) else pattern + rb"\r?\n"


def _literal_after(tokens: tuple[str | Token, ...], n: int) -> str:
    after = tokens[n + 1] if n + 1 < len(tokens) else ""
    return after if isinstance(after, str) else ""


def _request(log_format: LogFormat, n: int, garbage: bytes, *, query: bool) -> bytes:
    """Match method and target together, up to its query or with it; or, captured empty, anything else."""
    target = log_format.rules.target
    rest = rb"(?:[?#](?:" + target.replace(b"?#", b"") + rb")?+)?+"
    request = _METHOD + b" " + target
    # Without quotes or tabs around it, only the protocol tells where a request ends, and that it is one.
    is_told = _is_quoted(log_format.tokens, n) or log_format.rules.value
    protocol = _PROTOCOL if is_told else _PROTOCOL.removesuffix(b"?+")
    captured = b"(" + request + rest + b")" if query else b"(" + request + b")" + rest
    return b"(?:" + captured + protocol + b"(?=" + _next(log_format, n) + b")|" + garbage + b")"


def _signature(log_format: LogFormat) -> bytes:
    """Match what gunicorn writes, from the status on, for a request that it refused itself: `400 0 "-" "-"`.

    Empty where the format does not show status, length, referer and user agent side by side.
    """
    values = {"s": "400", "b": "0", "B": "0", "f": "-", "a": "-"}
    if log_format.server != "gunicorn" or log_format.is_json:
        return b""
    tokens = log_format.tokens
    start = next((n for n, t in enumerate(tokens) if isinstance(t, Token) and t.name == "s"), None)
    text, seen = "", set()
    for token in tokens[start:] if start is not None else ():
        if isinstance(token, Token):
            if token.name not in values:
                break
            seen.add(token.name)
            text += values[token.name]
        else:
            text += token
    return re.escape(text.rstrip(" ").encode()) if {"s", "f", "a"} <= seen and seen & {"b", "B"} else b""


def line_pattern(log_format: LogFormat, tokens: int | None = None) -> bytes:
    """The pattern of a line with every variable captured, or of its first `tokens` tokens only."""
    pattern = b""
    for n, token in enumerate(log_format.tokens[:tokens]):
        pattern += (
            re.escape(token.encode()) if isinstance(token, str) else b"(" + _shape(log_format, n) + b")"
        )
    return pattern


def parse_line(log_format: LogFormat, line: bytes) -> dict[str, bytes] | None:
    """Parse every variable of one line of a text format, unescaped; None where the line does not fit."""
    match = re.compile(line_pattern(log_format) + rb"\r?\n").fullmatch(line.rstrip(b"\r\n") + b"\n")
    if not match:
        return None
    names = [token.name for token in log_format.variables]
    return {name: log_format.unescape(value) for name, value in zip(names, match.groups(), strict=True)}
