"""ENVELOPES: the ways in which Docker, Kubernetes, syslog and others wrap a server's lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.formats.json_reader import objects, to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable


class Envelope(NamedTuple):
    """One way in which a server's lines are carried.

    `unwrap` takes a block of whole lines and gives as many; a line that is not carried so stays as it is.
    `sample` is a carried line, LINE for the server's own. `part` fits lines that hold only part of one.
    """

    about: str
    sample: str
    unwrap: Callable[[bytes], bytes]
    part: re.Pattern[bytes] | None = None


def _without(prefix: bytes) -> Callable[[bytes], bytes]:
    """Take off what lines begin with; `re` finds newlines faster than beginnings of lines."""
    compiled = re.compile(rb"\n(?:" + prefix + b")")
    return lambda block: compiled.sub(b"\n", b"\n" + block)[1:]


_colours = re.compile(rb"\x1b\[[\d;]*m")
_logging_prefix = _without(rb"[A-Z]+:[\w.]+:")


def _without_colours(block: bytes) -> bytes:
    return _logging_prefix(_colours.sub(b"", block) if b"\x1b" in block else block)


def _from_json(key: str, end: str = "") -> Callable[[bytes], bytes]:
    """Take what is under a key of JSON lines, if it ends in `end`, without that end."""

    def within(item: object, line: str) -> str:
        text = item.get(key) if isinstance(item, dict) else None
        if not isinstance(text, str) or not text.endswith(end) or "\n" in text.removesuffix(end):
            return line
        return text.removesuffix(end)

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
        _from_json("log", "\n"),
        re.compile(rb'\{"log":"(?:[^"\\]|\\.)*+(?<!\\n)","stream":'),
    ),
    "cri": Envelope(
        "Kubernetes' CRI (containerd, CRI-O)",
        "2026-11-22T13:25:15.042137000Z stdout F LINE",
        _without(_ISO + rb" std(?:out|err) F "),
        re.compile(_ISO + rb" std(?:out|err) P "),
    ),
    "syslog": Envelope(
        "syslog, RFC 3164, as nginx and gunicorn send it, and as rsyslog and journalctl write it",
        "<190>Nov 22 13:25:15 web1 nginx: LINE",
        _without(
            rb"(?:<\d{1,3}>(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d )?|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d |"
            + _ISO
            + rb" )(?:[^ :\n]+ )?[^ :\[\n]+(?:\[\d+\])?: (?:\[\d+\] )?"
        ),
    ),
    "syslog-5424": Envelope(
        "syslog, RFC 5424",
        "<190>1 2026-11-22T13:25:15.042Z web1 nginx 4242 - - LINE",
        _without(rb"<\d{1,3}>1(?: [^ \n]+){5} (?:-|(?:\[(?:[^\]\\\n]|\\.)*+\])++) (?:\xef\xbb\xbf)?"),
    ),
    "compose": Envelope(
        "`docker compose logs`",
        "web-1  | LINE",
        _without(rb"(?:\x1b\[[\d;]*m)?[a-zA-Z][\w.-]* +\|(?:\x1b\[0m)? "),
    ),
    "json-message": Envelope(
        "a JSON logger that has the server's line under `message`",
        '{"asctime": "2026-11-22 13:25:15,042", "name": "gunicorn.access", "message": "LINE"}',
        _from_json("message"),
    ),
    "terminal": Envelope(
        "Werkzeug's colours, and the prefix of Python's `logging.basicConfig`",
        "INFO:werkzeug:LINE",
        _without_colours,
    ),
}
