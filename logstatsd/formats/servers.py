"""SERVERS: how each server spells variables in its format strings, and escapes their values in its logs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.formats.fields import APACHE, GUNICORN, JSON, LTSV, NGINX, UWSGI, WERKZEUG, Field

if TYPE_CHECKING:
    from collections.abc import Callable


class Server(NamedTuple):
    """One server's way of writing logs: its directives, what they mean, and how it escapes values."""

    directive: re.Pattern[str]
    fields: dict[str, Field]
    quoted: bytes
    """Pattern of a value between double quotes; empty where the server leaves quotes in it as they are."""
    target: bytes
    """Pattern of a request target up to its query, wherever it stands."""
    unescape: Callable[[bytes], bytes]
    spelled: str
    """A variable as its format strings have it."""
    value: bytes = b""
    """Pattern of any value; empty where that depends on what stands around it."""


_C_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"v": b"\v", b"f": b"\f"}
_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|u00([0-9A-Fa-f]{2})|(.))")
_HEX = re.compile(rb"\\x([0-9A-Fa-f]{2})")


def _unescape_hex(value: bytes) -> bytes:
    """Undo `\\xHH`, as nginx writes control characters, `"`, `\\` and every byte above 126."""
    return _HEX.sub(lambda m: bytes([int(m[1], 16)]), value) if b"\\" in value else value


def _unescape_c(value: bytes) -> bytes:
    """Undo Apache's escapes (`\\xHH`, `\\n`, a backslash before `"` and `\\`) and JSON's (`\\u00HH`)."""
    if b"\\" not in value:
        return value

    def undo(match: re.Match[bytes]) -> bytes:
        code = match[1] or match[2]
        return bytes([int(code, 16)]) if code else _C_ESCAPES.get(match[3], match[3])

    return _ESCAPE.sub(undo, value)


def _unescape_gunicorn(value: bytes) -> bytes:
    """Undo `\\"`; and the UTF-8 in which the log holds what gunicorn had read as Latin-1."""
    value = value.replace(b'\\"', b'"')
    try:
        return value if value.isascii() else value.decode("utf-8").encode("latin-1")
    except UnicodeError:
        return value


def _as_is(value: bytes) -> bytes:
    return value


_DOLLAR = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_LABEL = re.compile(r"\$\{([\w.-]+)\}|\$(\w+)")
_ATOM = re.compile(r"%(?:(%)|\((\{[^}]+\}[a-zA-Z]|[a-zA-Z])\)[-\d.]*[sdr])")
_PERCENT = re.compile(r"%(?:(%)|[<>!,\d]*(\{[^}]+\}[a-zA-Z]|[a-zA-Z]))")
_LOGVAR = re.compile(r"%(?:(%)|\(([\w.-]+)\))")
_BACKSLASH_QUOTE = rb'(?:(?<=\\)"[^"\n]*+)*+'
_PAIRS = rb"(?:\\.[^%s\\\n]*+)*+"
_PLAIN, _PLAIN_TARGET = rb'[^"\n]*+', rb'[^ ?#"\n]++'
_PAIRED, _PAIRED_TARGET = (
    rb'[^"\\\n]*+' + _PAIRS % b'"',
    rb'(?=[^ ?#"\n])[^ ?#"\\\n]*+' + _PAIRS % b' ?#"',
)
_RAW_TARGET = rb'(?:[^ ?#"\n]++|"(?=[^ \n]))++'

SERVERS: dict[str, Server] = {
    "nginx": Server(_DOLLAR, NGINX, _PLAIN, _PLAIN_TARGET, _unescape_hex, "${}"),
    "nginx escape=json": Server(_DOLLAR, NGINX, _PAIRED, _PAIRED_TARGET, _unescape_c, "${}"),
    "nginx escape=none": Server(_DOLLAR, NGINX, b"", _RAW_TARGET, _as_is, "${}"),
    "gunicorn": Server(
        _ATOM,
        GUNICORN,
        _PLAIN + _BACKSLASH_QUOTE,
        rb'(?=[^ ?#\n])[^ ?#"\n]*+(?:(?<=\\)"[^ ?#"\n]*+)*+',
        _unescape_gunicorn,
        "%({})s",
    ),
    "apache": Server(_PERCENT, APACHE, _PAIRED, _PAIRED_TARGET, _unescape_c, "%{}"),
    "uwsgi": Server(_LOGVAR, UWSGI, b"", _RAW_TARGET, _as_is, "%({})"),
    "werkzeug": Server(_DOLLAR, WERKZEUG, b"", _RAW_TARGET, _unescape_c, "${}"),
    "ltsv": Server(_LABEL, LTSV, b"", rb"[^ ?#\t\r\n]++", _unescape_c, "{}", value=rb"[^\t\r\n]*+"),
    "json": Server(_DOLLAR, JSON, _PLAIN, _PLAIN_TARGET, _as_is, "{}"),
}

_TOLD_BY = (
    (re.compile(r"%\((?:\{[^}]+\}[a-zA-Z]|[a-zA-Z])\)[-\d.]*s"), "gunicorn"),
    (re.compile(r"%\([a-z][\w.-]+\)"), "uwsgi"),
    (re.compile(r"\$\{?[a-z]\w+"), "nginx"),
    (re.compile(r"%[<>!,\d]*(?:\{[^}]+\})?[a-zA-Z]"), "apache"),
)


def server_of(layout: str) -> str | None:
    """Find the key of SERVERS whose format string this is; None for none."""
    return next((server for pattern, server in _TOLD_BY if pattern.search(layout)), None)


NEVER_WRITES = {
    "nginx": re.compile(rb"[\x80-\xff]|\\[^x]|\\x[0-9A-F]?[a-f]"),
    "apache": re.compile(rb"[\x80-\xff]|\\x[0-9a-f]?[A-F]"),
    "gunicorn": re.compile(rb"\\x[0-9A-Fa-f]{2}|\\\\"),
}
"""What in a log speaks against a server, where the layouts of two are the same."""
