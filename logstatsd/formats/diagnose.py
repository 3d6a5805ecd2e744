"""Explain where a line departs from its format, and what a log is that is no access log."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.formats.logformat import LogFormat, Token
from logstatsd.formats.presets import FORMATS
from logstatsd.formats.reader import unwrap
from logstatsd.formats.text_reader import line_pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST = 4_096
"""Bytes of a line that are looked at."""

_ACCESS_LOGS = "its access log is what is needed"

OTHER_LOGS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (
        re.compile(rb"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[\w+\] \d+#\d+: "),
        f"this is nginx's error log; {_ACCESS_LOGS}: see `access_log` in nginx.conf",
    ),
    (
        re.compile(rb"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[\d+\] \[[A-Z]+\] "),
        f"this is gunicorn's error log; {_ACCESS_LOGS}: run gunicorn with --access-logfile FILE",
    ),
    (
        re.compile(rb"\[\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)? \d{4}\] \[[\w:-]*\] "),
        f"this is Apache's error log; {_ACCESS_LOGS}: see `CustomLog` in its configuration",
    ),
    (
        re.compile(rb"(?:Traceback \(most recent call last\):|  File \")"),
        f"this is what an app wrote to stderr; {_ACCESS_LOGS}, of nginx or gunicorn",
    ),
    (re.compile(rb"[^\n]*\x00"), "this is no text: give the log as the server wrote it"),
)
"""How the lines of logs begin that are often given by mistake, and what to say then."""


class Mismatch(NamedTuple):
    """The place where a line leaves a format: how many of its bytes fit, and what should come there."""

    fits: int
    wanted: str


def first_mismatch(log_format: LogFormat, line: bytes) -> Mismatch:
    """Find how far a line fits a text format; the column counts within what carries the line."""
    line = unwrap(line[:LONGEST] + b"\n", log_format.envelopes)
    fits = 0
    for n, token in enumerate(log_format.tokens):
        match = re.compile(line_pattern(log_format, n + 1)).match(line)
        if not match:
            spelled = log_format.rules.spelled
            return Mismatch(fits, spelled.format(token.name) if isinstance(token, Token) else repr(token))
        fits = match.end()
    return Mismatch(fits, "the end of the line")


def explain_unknown(lines: Sequence[bytes], name: str) -> str:
    """Explain a log none of whose lines fits a known format."""
    lines = [line for line in lines if line.strip()]
    if not lines:
        return f"{name}: nothing but blank lines, and none to tell the format by"
    for pattern, what in OTHER_LOGS:
        if sum(bool(pattern.match(line)) for line in lines) * 2 > len(lines):
            return f"{name}: {what}"
    reached = [
        (first_mismatch(preset.log_format, lines[0]), preset.log_format)
        for preset in FORMATS.values()
        if preset.share == 1
    ]
    mismatch, closest = max(reached, key=lambda item: (item[0].fits, -len(item[1].tokens)))
    return (
        f"{name}: no line fits a known format; the closest, {closest.name!r}, stops at column "
        f"{mismatch.fits + 1} of the first line, where it wants {mismatch.wanted}; "
        "give the server's own format string by --log-format"
    )


def explain_format(name: str, log_format: LogFormat, samples: Sequence[tuple[str, bytes]]) -> str:
    """Explain a log none of whose lines fits the format it was given."""
    reason, line = samples[0] if samples else ("no match", b"")
    for pattern, what in OTHER_LOGS:
        if pattern.match(line):
            return f"{name}: {what}"
    if reason == "no match" and not log_format.is_json:
        mismatch = first_mismatch(log_format, line)
        return (
            f"{name}: no line fits the format {log_format.name!r}; the first stops at column "
            f"{mismatch.fits + 1}, where it wants {mismatch.wanted}; "
            "without --log-format, the format is looked for"
        )
    common = Counter(reason for reason, _ in samples).most_common(1)
    return f"{name}: no line fits the format {log_format.name!r}: {common[0][0] if common else reason}"
