"""Finds the format of a log from its first lines, or says where they stop to fit."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.clocks import duration_us
from logstatsd.errors import FormatError
from logstatsd.formats import LogFormat, Token, parse_layout
from logstatsd.patterns import line_pattern
from logstatsd.presets import FORMATS
from logstatsd.scan import reader_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LOOKED_AT = 1_000
"""Lines at the head of a log that detection looks at."""

_JSON_KEYS: dict[str, tuple[tuple[str, str], ...]] = {
    # role: (key, the variable it is taken for), best first
    "request": (("request", "request"), ("http_request", "request")),
    "method": tuple((key, "request_method") for key in (
        "request_method", "method", "http_method", "http.request.method", "verb", "m",
    )),
    "target": tuple((key, "request_uri") for key in (
        "request_uri", "uri", "url", "path", "request_path", "url.path", "http.target", "target", "raw_uri",
    )),
    "status": tuple((key, "status") for key in (
        "status", "status_code", "response_status", "http_status", "http.response.status_code", "code",
    )),
    "duration": (
        *((key, "request_time") for key in ("request_time", "duration_s", "duration_seconds", "rt")),
        *((key, "duration_us") for key in ("duration_us", "request_time_us", "latency_us")),
        *((key, "duration_ms") for key in ("duration_ms", "request_time_ms", "latency_ms")),
        *((key, "request_time") for key in ("duration", "response_time", "latency", "elapsed")),
        ("upstream_response_time", "upstream_response_time"),
    ),
    "time": tuple((key, "time") for key in (
        "time_iso8601", "time_local", "@timestamp", "timestamp", "time", "msec", "ts", "datetime", "date",
    )),
    "host": (("http_host", "http_host"), ("host", "host")),
    "upstream": (("upstream_addr", "upstream_addr"),),
    "cpu": (("cpu_us", "cpu_us"), ("logstatsd_cpu_us", "cpu_us")),
}  # fmt: skip


class Detected(NamedTuple):
    """A format, how many of the lines looked at fit it, and what a person should know about it."""

    log_format: LogFormat
    fitting: int
    looked_at: int
    note: str = ""


def choose(text: str) -> LogFormat:
    """The format that `--log-format` names or spells out. Raises FormatError where it is neither."""
    preset = FORMATS.get(text)
    return preset.log_format if preset else parse_layout(text)


def detect(head: bytes, name: str, *, fields: Mapping[str, str] | None = None) -> Detected:
    """Find the format that fits most of a log's first whole lines.

    `name` is the log's, for messages; `fields` names JSON keys for roles where the usual ones do not serve.
    Raises FormatError, with the closest format and the column where the first line leaves it, if none fits.
    """
    lines = [line for line in head.split(b"\n")[:LOOKED_AT] if line.strip()]
    candidates = [json_format(lines, fields or {})] if lines and lines[0].lstrip().startswith(b"{") else []
    candidates += [preset.log_format for preset in FORMATS.values() if preset.detected]
    block = b"\n".join(lines) + b"\n"
    found = [(fitting(candidate, block), -n) for n, candidate in enumerate(candidates) if candidate]
    best, rank = max(found, default=(0, 0))
    if not best:
        raise FormatError(_no_fit(lines, name))
    log_format = candidates[-rank]
    if log_format is None:
        raise FormatError(_no_fit(lines, name))
    preset = FORMATS.get(log_format.name)
    return Detected(log_format, best, len(lines), preset.note if preset else "")


def fitting(log_format: LogFormat, block: bytes) -> int:
    """How many lines of a block fit a format, durations included."""
    reader = reader_of(log_format, ("request", "status", "duration"))
    rows = reader.rows(block)
    status = reader.columns.index("status")
    rows = [row if row[status] else reader.again(row[-1]) or row for row in rows]
    rows = [row for row in rows if row[status]]
    if "duration" not in reader.columns:
        return len(rows)
    column, unit = reader.columns.index("duration"), log_format.duration_unit
    return sum(_is_duration(row[column], unit) for row in rows)


def _is_duration(text: bytes, unit: str) -> bool:
    try:
        duration_us(text, unit)
    except ValueError:
        return False
    return True


def json_format(lines: Iterable[bytes], fields: Mapping[str, str]) -> LogFormat | None:
    """The format of JSON lines, by the names of their keys; None where the needed ones are not found."""
    keys: dict[str, None] = {}
    for line in lines:
        try:
            item = json.loads(line.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            continue
        keys.update(dict.fromkeys(item) if isinstance(item, dict) else {})
    layout = {}
    for role, choices in _JSON_KEYS.items():
        key = fields.get(role)
        variable = next((variable for known, variable in choices if known in (key or keys)), None)
        if key:
            variable = dict(choices).get(key, choices[0][1])
        else:
            key = next((known for known, _ in choices if known in keys), None)
            variable = dict(choices)[key] if key else None
        if key and variable:
            layout[key] = f"${variable}"
    try:
        found = LogFormat("json", json.dumps(layout), "json")
        _ = found.chosen
    except FormatError:
        return None
    return found


def _no_fit(lines: list[bytes], name: str) -> str:
    if not lines:
        return f"{name}: no whole line to tell the format by"
    first = lines[0]
    if first.lstrip().startswith(b"{"):
        return (
            f"{name}: the JSON lines have no key known for method and target, or status; "
            "name them, as in --field method=verb --field target=url --field status=code"
        )
    reached = [(furthest(preset.log_format, first), preset.log_format) for preset in FORMATS.values()]
    (column, wanted), closest = max(reached, key=lambda item: item[0][0])
    return (
        f"{name}: no line fits a known format; the closest, {closest.name!r}, stops at column "
        f"{column + 1} of the first line, where it wants {wanted}; "
        "give the server's own format string by --log-format"
    )


def furthest(log_format: LogFormat, line: bytes) -> tuple[int, str]:
    """How many bytes of a line fit the beginning of a format, and what should come there."""
    reached, wanted = 0, "another line"
    for n in range(1, len(log_format.tokens) + 1):
        match = re.compile(line_pattern(log_format, n)).match(line + b"\n")
        token = log_format.tokens[n - 1]
        if not match:
            wanted = f"{token.name!r}" if isinstance(token, Token) else f"{token!r}"
            break
        reached = match.end()
        wanted = "the end of the line"
    return reached, wanted


def misfit(name: str, log_format: LogFormat, samples: list[tuple[str, bytes]]) -> str:
    """What to say of a log none of whose lines fits the format it was given."""
    reason, line = samples[0] if samples else ("no match", b"")
    if reason == "no match" and not log_format.is_json:
        column, wanted = furthest(log_format, line)
        return (
            f"{name}: no line fits the format {log_format.name!r}: the first stops at column {column + 1}, "
            f"where it wants {wanted}"
        )
    return f"{name}: no line fits the format {log_format.name!r}: {reason}"
