"""ENVELOPES: the ways in which Docker, Kubernetes, syslog and others wrap a server's lines."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.formats.json_reader import objects, to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable


class Prefix(NamedTuple):
    """What lines begin with: a pattern; with `colour`, the byte that they begin with, colours go first."""

    pattern: bytes
    colour: bytes = b""


class Under(NamedTuple):
    """The key of a JSON object that has the line, and how it ends there, which is taken off."""

    key: str
    end: str = ""


class Envelope(NamedTuple):
    """One way in which a server's lines are carried.

    `sample` is a carried line, LINE for the server's own. `layer` is what is to be taken off, as
    plain data. `part` fits lines that hold only part of one.
    """

    about: str
    sample: str
    layer: Prefix | Under
    part: re.Pattern[bytes] | None = None

    def unwrap(self, block: bytes) -> bytes:
        """Unwrap whole lines; a line that is not carried so stays as it is."""
        return _unwrapper(self.layer)(block)


@cache
def _unwrapper(layer: Prefix | Under) -> Callable[[bytes], bytes]:
    return _without(layer) if isinstance(layer, Prefix) else _from_json(layer)


_colours = re.compile(rb"\x1b\[[\d;]*m")


def _without(prefix: Prefix) -> Callable[[bytes], bytes]:
    """Take off what lines begin with; `re` finds newlines faster than beginnings of lines."""
    compiled = re.compile(rb"\n(?:" + prefix.pattern + b")")

    def unwrap(block: bytes) -> bytes:
        if prefix.colour and prefix.colour in block:
            block = _colours.sub(b"", block)
        return compiled.sub(b"\n", b"\n" + block)[1:]

    return unwrap


def _from_json(under: Under) -> Callable[[bytes], bytes]:
    """Take what is under a key of JSON lines, if it ends as it should, without that end."""

    def within(item: object, line: str) -> str:
        text = item.get(under.key) if isinstance(item, dict) else None
        if not isinstance(text, str) or not text.endswith(under.end) or "\n" in text.removesuffix(under.end):
            return line
        return text.removesuffix(under.end)

    def unwrap(block: bytes) -> bytes:
        lines, items = objects(block)
        unwrapped = [*map(within, items, lines), ""]
        try:
            return "\n".join(unwrapped).encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # half a surrogate pair somewhere; only its own line shall suffer
            return b"\n".join(map(to_bytes, unwrapped))

    return unwrap


_ISO = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"

ENVELOPES: dict[str, Envelope] = {
    "docker": Envelope(
        "Docker's json-file driver",
        r'{"log":"LINE\n","stream":"stdout","time":"2026-11-22T13:25:15.042137000Z"}',
        Under("log", "\n"),
        re.compile(rb'\{"log":"(?:[^"\\]|\\.)*+(?<!\\n)","stream":'),
    ),
    "cri": Envelope(
        "Kubernetes' CRI (containerd, CRI-O)",
        "2026-11-22T13:25:15.042137000Z stdout F LINE",
        Prefix(_ISO + rb" std(?:out|err) F "),
        re.compile(_ISO + rb" std(?:out|err) P "),
    ),
    "syslog": Envelope(
        "syslog, RFC 3164, as nginx and gunicorn send it, and as rsyslog and journalctl write it",
        "<190>Nov 22 13:25:15 web1 nginx: LINE",
        Prefix(
            rb"(?:<\d{1,3}>(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d )?|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d |"
            + _ISO
            + rb" )(?:[^ :\n]+ )?[^ :\[\n]+(?:\[\d+\])?: (?:\[\d+\] )?"
        ),
    ),
    "syslog-5424": Envelope(
        "syslog, RFC 5424",
        "<190>1 2026-11-22T13:25:15.042Z web1 nginx 4242 - - LINE",
        Prefix(rb"<\d{1,3}>1(?: [^ \n]+){5} (?:-|(?:\[(?:[^\]\\\n]|\\.)*+\])++) (?:\xef\xbb\xbf)?"),
    ),
    "compose": Envelope(
        "`docker compose logs`",
        "web-1  | LINE",
        Prefix(rb"(?:\x1b\[[\d;]*m)?[a-zA-Z][\w.-]* +\|(?:\x1b\[0m)? "),
    ),
    "json-message": Envelope(
        "a JSON logger that has the server's line under `message`",
        '{"asctime": "2026-11-22 13:25:15,042", "name": "gunicorn.access", "message": "LINE"}',
        Under("message"),
    ),
    "terminal": Envelope(
        "Werkzeug's colours, and the prefix of Python's `logging.basicConfig`",
        "INFO:werkzeug:LINE",
        Prefix(rb"[A-Z]+:[\w.]+:", colour=b"\x1b"),
    ),
}
