"""Writes log lines as the servers do: the other half of the parser, for round trips.

Sources: nginx, src/http/modules/ngx_http_log_module.c, ngx_http_log_escape; gunicorn, glogging.SafeAtoms;
Apache, server/util.c, ap_escape_logitem.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from logstatsd.formats.logformat import LogFormat

NGINX_UNSAFE = re.compile(rb'[^ -~]|["\\]')
APACHE_LETTERS = {b"\n": b"\\n", b"\r": b"\\r", b"\t": b"\\t", b"\b": b"\\b", b"\v": b"\\v", b'"': b'\\"'}
APACHE_LETTERS[b"\\"] = b"\\\\"


def nginx(value: bytes) -> bytes:
    return NGINX_UNSAFE.sub(lambda m: b"\\x%02X" % ord(m[0]), value) or b"-"


def gunicorn(value: bytes) -> bytes:
    """gunicorn reads bytes as Latin-1, escapes the quote alone, and writes UTF-8."""
    return value.decode("latin-1").replace('"', '\\"').encode() or b"-"


def apache(value: bytes) -> bytes:
    return re.sub(rb'[^ -~]|["\\]', lambda m: APACHE_LETTERS.get(m[0], b"\\x%02x" % ord(m[0])), value) or b"-"


def nginx_json(value: bytes) -> bytes:
    """nginx with escape=json: bytes above 126 stay, an empty value stays empty."""
    return re.sub(rb'[\x00-\x1f"\\]', lambda m: JSON_LETTERS.get(m[0], b"\\u%04X" % ord(m[0])), value)


JSON_LETTERS = {b"\n": b"\\n", b"\r": b"\\r", b"\t": b"\\t", b"\b": b"\\b", b"\f": b"\\f", b'"': b'\\"'}
JSON_LETTERS[b"\\"] = b"\\\\"

ESCAPES: dict[str, Callable[[bytes], bytes]] = {
    "nginx": nginx,
    "nginx escape=json": nginx_json,
    "gunicorn": gunicorn,
    "apache": apache,
}


def render(log_format: LogFormat, values: list[bytes]) -> bytes:
    """A line with these values, in the order of the format's variables."""
    escape = ESCAPES.get(f"{log_format.server} escape={log_format.escape}", ESCAPES[log_format.server])
    rest = iter(values)
    return b"".join(
        token.encode() if isinstance(token, str) else escape(next(rest)) for token in log_format.tokens
    )
