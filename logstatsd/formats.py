"""LogFormat: a server's format string, understood; how to find requests in bytes written by it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.errors import FormatError
from logstatsd.fields import APACHE, DURATION_PREFERENCE, GUNICORN, JSON, NGINX, TEXT, Field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Row = tuple[bytes, ...]

HEAD_ROLES = ("request", "method", "target", "path", "host", "upstream", "signature")
"""What together decides a request's label, in the order in which `requested` takes them."""


class Token(NamedTuple):
    """One variable of a format string: its name there, and what it stands for."""

    name: str
    field: Field


class Server(NamedTuple):
    """How one server writes its logs: its directives, what they mean, and how it escapes values."""

    directive: re.Pattern[str]
    fields: dict[str, Field]
    quoted: bytes
    """Pattern of a value between double quotes."""
    target: bytes
    """Pattern of a request target up to its query, wherever it stands."""
    unescape: Callable[[bytes], bytes]


_TARGETS = {"request", "target", "path"}
_OVERRULED = (("request", "method"), ("request", "target"), ("request", "path"), ("target", "path"))
"""Of two roles that say the same, the one that says it better, and the one that is then not read."""

_C_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"v": b"\v", b"f": b"\f"}


def _unescape_hex(value: bytes) -> bytes:
    """Undo `\\xHH`, as nginx writes control characters, `"`, `\\` and every byte above 126."""
    if b"\\" not in value:
        return value
    return re.sub(rb"\\x([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]), value)


def _unescape_c(value: bytes) -> bytes:
    """Undo Apache's escapes: `\\xHH`, `\\n` and its like, a backslash before `"` and `\\`."""
    if b"\\" not in value:
        return value

    def undo(match: re.Match[bytes]) -> bytes:
        return bytes([int(match[1], 16)]) if match[1] else _C_ESCAPES.get(match[2], match[2])

    return re.sub(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", undo, value)


def _unescape_gunicorn(value: bytes) -> bytes:
    """Undo `\\"`; and the UTF-8 in which the log holds what gunicorn had read as Latin-1."""
    value = value.replace(b'\\"', b'"')
    try:
        return value if value.isascii() else value.decode("utf-8").encode("latin-1")
    except UnicodeError:
        return value


def _as_is(value: bytes) -> bytes:
    return value


_PERCENT = re.compile(r"%(?:(%)|[<>!,\d]*(\{[^}]+\}[a-zA-Z]|[a-zA-Z]))")
_BACKSLASH_QUOTE = rb'(?:(?<=\\)"[^"\n]*+)*+'
_PAIRS = rb"(?:\\.[^%s\\\n]*+)*+"

SERVERS: dict[str, Server] = {
    "nginx": Server(
        re.compile(r"\$(?:\{(\w+)\}|(\w+))"), NGINX, rb'[^"\n]*+', rb'[^ ?#"\n]++', _unescape_hex
    ),
    "gunicorn": Server(
        re.compile(r"%(?:(%)|\((\{[^}]+\}[a-zA-Z]|[a-zA-Z])\)[-\d.]*[sdr])"),
        GUNICORN,
        rb'[^"\n]*+' + _BACKSLASH_QUOTE,
        rb'(?=[^ ?#\n])[^ ?#"\n]*+(?:(?<=\\)"[^ ?#"\n]*+)*+',
        _unescape_gunicorn,
    ),
    "apache": Server(
        _PERCENT,
        APACHE,
        rb'[^"\\\n]*+' + _PAIRS % b'"',
        rb'(?=[^ ?#\n])[^ ?#"\\\n]*+' + _PAIRS % b' ?#"',
        _unescape_c,
    ),
    "json": Server(re.compile(r"\$(?:\{(\w+)\}|(\w+))"), JSON, rb'[^"\n]*+', rb'[^ ?#"\n]++', _as_is),
}


@dataclass(frozen=True)
class LogFormat:
    """One log format: plain data that pickles, compares and goes into a checkpoint.

    `layout` is the format string in the words of `server` (a key of SERVERS), a JSON object's text where the
    log is JSON. `assigned` names the variable to take a role from, where that is not the usual one.
    `escape` is nginx's `escape=` parameter: `default`, `json` or `none`.
    """

    name: str
    layout: str
    server: str
    assigned: tuple[tuple[str, str], ...] = ()
    escape: str = "default"

    @property
    def is_json(self) -> bool:
        return self.layout.lstrip().startswith("{") and self.layout.rstrip().endswith("}")

    @cached_property
    def tokens(self) -> tuple[str | Token, ...]:
        """The literals and variables of the layout, in turn."""
        return tuple(_tokens(self.layout, self.server))

    @cached_property
    def keys(self) -> tuple[tuple[str, Token], ...]:
        """For JSON: each key with the one variable that is its value; keys of other make-up are left out."""
        try:
            items: dict[str, object] = json.loads(
                re.sub(r":\s*(\$\{?\w+\}?|%\([^)]+\)s)", r': "\1"', self.layout)
            )
        except ValueError as error:
            raise FormatError(f"the JSON log format {self.layout!r} is not JSON: {error}") from None
        found = []
        for key, value in items.items():
            tokens = list(_tokens(str(value), self.server))
            if len(tokens) == 1 and isinstance(tokens[0], Token):
                found.append((key, tokens[0]))
        return tuple(found)

    @cached_property
    def variables(self) -> tuple[Token, ...]:
        """Every variable of the format, in order."""
        if self.is_json:
            return tuple(token for _, token in self.keys)
        return tuple(token for token in self.tokens if isinstance(token, Token))

    @cached_property
    def chosen(self) -> dict[str, Token]:
        """For each role the variable that serves it. Raises FormatError where a needed one is missing."""
        chosen: dict[str, Token] = {}
        for token in self.variables:
            role = token.field.role
            if role and role != "duration":
                chosen.setdefault(role, token)
        durations = {token.name: token for token in self.variables if token.field.role == "duration"}
        if durations:
            ranked = [name for name in DURATION_PREFERENCE if name in durations]
            chosen["duration"] = durations[ranked[0] if ranked else next(iter(durations))]
        chosen |= {role: self._named(role, name) for role, name in self.assigned}
        for better, worse in _OVERRULED:
            if better in chosen:
                chosen.pop(worse, None)
        missing = [
            what
            for what, roles in (
                ("status", {"status"}),
                ("method", {"request", "method"}),
                ("target", _TARGETS),
            )
            if not roles & chosen.keys()
        ]
        if missing:
            raise FormatError(
                f"the log format {self.layout!r} has no {' and no '.join(missing)}; add it to the log"
            )
        return chosen

    def _named(self, role: str, name: str) -> Token:
        """The variable of that name, for a role that it was given by the user."""
        for token in self.variables:
            if token.name == name and (role != "duration" or token.field.unit):
                return token
        fitting = [token.name for token in self.variables if role != "duration" or token.field.unit]
        raise FormatError(
            f"the log format {self.name!r} has no {role} {name!r}; it has: {', '.join(fitting) or 'none'}"
        )

    @property
    def duration_unit(self) -> str:
        """The entry of `clocks.UNITS` that the durations are in; "" where the log has none."""
        token = self.chosen.get("duration")
        return token.field.unit if token else ""

    @property
    def duration_source(self) -> str:
        """Where durations come from, in words; "" where the log has none."""
        token = self.chosen.get("duration")
        if token is None:
            return ""
        named = {"nginx": "${}", "gunicorn": "%({})s", "apache": "%{}"}.get(self.server, "{}")
        key = (
            next((key for key, other in self.keys if other is token), token.name)
            if self.is_json
            else token.name
        )
        return f"{key if self.is_json else named.format(key)} ({token.field.unit})"

    def assign(self, role: str, name: str) -> LogFormat:
        """The same format with a role taken from the variable named (`$` or `%(…)s` may be left on)."""
        bare = re.sub(r"^\$\{?|\}$|^%\(|\)s$", "", name)
        if self.is_json and not any(token.name == bare for token in self.variables):
            bare = next((token.name for key, token in self.keys if key == name), bare)
        return replace(self, assigned=(*self.assigned, (role, bare)))

    def unescape(self, value: bytes) -> bytes:
        """The bytes that the server had before it wrote them into its log."""
        if self.is_json or self.escape == "none":
            return value
        return SERVERS[self.server].unescape(value)


def _tokens(layout: str, server: str) -> Iterator[str | Token]:
    """Yield the literals and the variables of a format string, empty literals left out."""
    directive, fields = SERVERS[server].directive, SERVERS[server].fields
    literal, position = "", 0
    for match in directive.finditer(layout):
        literal += layout[position : match.start()]
        position = match.end()
        if server != "nginx" and match[1] == "%":
            literal += "%"
            continue
        name = match[1] or match[2]
        name = name.lower() if name.startswith("{") and not name.endswith("T") else name
        if literal:
            yield literal
        literal = ""
        yield Token(name, fields.get(name, TEXT))
    if literal + layout[position:]:
        yield literal + layout[position:]


def parse_layout(layout: str, name: str = "given") -> LogFormat:
    """Understand a format string of nginx, gunicorn or Apache, given as it stands in their configuration.

    Raises FormatError where it is none of these or lacks what a report needs.
    """
    layout = layout.strip("\r\n")
    if re.search(r"%\((?:\{[^}]+\})?[a-zA-Z]+\)s", layout):
        server = "gunicorn"
    elif re.search(r"\$\{?[a-z]\w+", layout):
        server = "nginx"
    elif re.search(r"%[<>!,\d]*(?:\{[^}]+\})?[a-zA-Z]", layout):
        server = "apache"
    else:
        raise FormatError(
            f"{layout!r} is neither a format's name nor a format string: "
            "give nginx's log_format, gunicorn's access_log_format or a name from `logstatsd check --formats`"
        )
    found = LogFormat(name, layout, server)
    _ = found.chosen
    return found
