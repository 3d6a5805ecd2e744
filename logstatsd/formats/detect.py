"""Find the format of a log from its first lines."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from operator import ne
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.errors import FormatError
from logstatsd.formats.config_files import formats_of
from logstatsd.formats.diagnose import explain_unknown
from logstatsd.formats.envelopes import ENVELOPES
from logstatsd.formats.json_reader import objects
from logstatsd.formats.logformat import LogFormat, flat, parse_layout, split_unit
from logstatsd.formats.ltsv import ltsv_format
from logstatsd.formats.presets import FORMATS, Expected, Preset
from logstatsd.formats.reader import Reader, reader_of, unwrap
from logstatsd.formats.servers import NEVER_WRITES
from logstatsd.formats.times import is_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LINES_LOOKED_AT = 1_000
"""Lines at the head of a log that detection looks at."""

JUDGED_BY = 64
"""About how many of them, spread out, tell what carries them."""

CERTAIN = 0.9
"""What fits this share of the lines is not bettered by another format; most patterns need not be compiled."""

UNKNOWN = ""
_SECONDS, _MS, _US, _NS = "request_time", "duration_ms", "duration_us", "duration_ns"


def _all(variable: str, keys: str) -> tuple[tuple[str, str], ...]:
    return tuple((key, variable) for key in keys.split())


JSON_KEYS: dict[str, tuple[tuple[str, str], ...]] = {
    # role: (key, the variable it is taken for), best first
    "request": _all("request", "request http_request request_line r"),
    "method": _all(
        "request_method",
        "request_method method http_method http.request.method http.method request.method requestMethod"
        " RequestMethod verb m",
    ),
    "target": _all(
        "request_uri",
        "request_uri uri url request.uri request.url path request_path url.original http.target http.url"
        " url.path request.path requestUrl RequestPath target raw_uri http.path",
    ),
    "status": _all(
        "status",
        "status status_code response_status http_status http.response.status_code http.status_code"
        " response.status response.status_code statusCode DownstreamStatus code s",
    ),
    "duration": (
        *_all(_SECONDS, "request_time duration_s duration_seconds request_time_s"),
        *_all(_US, "duration_us request_time_us latency_us duration_micros response_time_us"),
        *_all(_MS, "duration_ms request_time_ms latency_ms response_time_ms durationMs elapsed_ms"),
        *_all(_NS, "event.duration duration_ns Duration"),
        *_all(UNKNOWN, "duration response_time latency elapsed rt took request_duration D"),
        *_all("upstream_response_time", "upstream_response_time"),
    ),
    "time": _all(
        "time", "time_iso8601 time_local @timestamp timestamp time msec ts datetime date asctime StartUTC t"
    ),
    "host": _all("http_host", "http_host request.host host RequestHost"),
    "upstream": _all("upstream_addr", "upstream_addr upstream_response_time"),
    "cpu": _all("cpu_us", "cpu_us logstatsd_cpu_us"),
}
_BY_UNIT = {"seconds": _SECONDS, "nanoseconds": _NS}
_BY_UNIT |= {"milliseconds, maybe with decimals": _MS, "microseconds, maybe with decimals": _US}


class Detected(NamedTuple):
    """A format, how many of the lines looked at fit it, and what a person should know about it."""

    log_format: LogFormat
    fitting: int
    looked_at: int
    note: str = ""


def choices(text: str) -> tuple[list[LogFormat], str]:
    """List the formats that `--log-format` names or spells out, and give what to say of them.

    What carries the lines may come first (`cri:nginx`). A configuration file may have several formats. Raises
    FormatError where it is neither, InputError where a configuration file cannot be read.
    """
    envelopes: tuple[str, ...] = ()
    while (envelope := text.partition(":")[0]) in ENVELOPES:
        envelopes, text = (*envelopes, envelope), text.partition(":")[2]
    if text.startswith("@"):
        found, note = formats_of(text[1:])
    else:
        preset = FORMATS.get(text)
        found, note = [preset.log_format if preset else parse_layout(text)], ""
    return [_enveloped(log_format, envelopes) for log_format in found], note


def _enveloped(log_format: LogFormat, envelopes: tuple[str, ...]) -> LogFormat:
    """Put a format within what carries its lines."""
    own = tuple(each for each in log_format.envelopes if each not in envelopes)
    return replace(log_format, envelopes=envelopes + own)


def detect(head: bytes, name: str, *, given: str = "", fields: Mapping[str, str] | None = None) -> Detected:
    """Find the format that fits most of a log's first whole lines.

    `name` is the log's, for messages; `given` the format, if the user gave one: then only what carries its
    lines is left to find, and which it is, where a configuration has several. `fields` names JSON keys for
    roles where the usual ones do not serve. Raises FormatError, with the closest format and the column where
    the first line leaves it, if none fits.
    """
    lines = [line for line in head.split(b"\n") if line.strip()][:LINES_LOOKED_AT]
    block = b"\n".join(lines) + b"\n"
    if given and not (lines and given.rpartition(":")[2] == "ltsv"):  # those have their own labels
        return _best_of(*choices(given), block, len(lines))
    envelopes = envelopes_of(lines)
    inner = unwrap(block, envelopes)
    candidates = [preset for preset in FORMATS.values() if preset.detected]
    if sum(line.lstrip().startswith(b"{") for line in inner.split(b"\n")) * 2 > len(lines):
        log_format, note = json_format(inner, fields or {})
        if log_format is None:
            raise FormatError(f"{name}: {note}")
        candidates.insert(0, Preset(log_format, "", Expected(), note=note))
    labelled, missing = ltsv_format(inner, fields or {})
    if labelled:
        candidates.insert(0, Preset(labelled, "", Expected()))
    best = _best(candidates, inner, len(lines))
    fit = count_fitting(best.log_format, inner, leniently=True)
    if not fit and missing:
        raise FormatError(f"{name}: {missing}")
    if not fit:
        raise FormatError(explain_unknown(inner.split(b"\n")[:-1], name))
    return Detected(_enveloped(best.log_format, envelopes), fit, len(lines), best.note)


def _best(candidates: Sequence[Preset], block: bytes, lines: int) -> Preset:
    """Choose what fits most lines, and of these what the lines speak against least; of equals the first."""
    best, most, least = candidates[0], -1.0, 0
    for each in candidates:
        fitting = fitting_lines(each.log_format, block)
        fits = len(fitting) * each.share
        # what hardly fits is another server's: that speaks against nothing
        all_of_it = fits >= CERTAIN * lines
        against = contrary(each.log_format, block.split(b"\n") if all_of_it else fitting)
        if (fits, -against) > (most, -least):
            best, most, least = each, fits, against
        if fits >= CERTAIN * lines and not against:
            break
    return best


def _best_of(choices: Sequence[LogFormat], note: str, block: bytes, lines: int) -> Detected:
    """Choose, of the formats that the user gave, the one that fits best, with what carries its lines."""
    found = []
    envelopes = envelopes_of(block.split(b"\n")[:-1])
    for each in choices:
        found.append((count_fitting(each, block, leniently=True), each))
        if (carried := _enveloped(each, envelopes)) != each:
            found.append((count_fitting(carried, block, leniently=True), carried))
    fits, best = max(found, key=lambda item: item[0])
    return Detected(best, fits, lines, note)


def envelopes_of(lines: Sequence[bytes]) -> tuple[str, ...]:
    """Find what carries most of some lines, outermost first, judged by a few of them."""
    looked_at = lines[:: len(lines) // JUDGED_BY + 1]
    found: tuple[str, ...] = ()
    while outer := _envelope(looked_at, found):
        found += (outer,)
        looked_at = unwrap(b"".join(line + b"\n" for line in looked_at), (outer,)).split(b"\n")[:-1]
    return found


def _envelope(lines: Sequence[bytes], known: tuple[str, ...]) -> str:
    block = b"".join(line + b"\n" for line in lines)
    for name, envelope in ENVELOPES.items():
        inner = envelope.unwrap(block).split(b"\n")
        if name not in known and sum(map(ne, lines, inner)) * 2 > len(lines):
            return name
    return ""


def count_fitting(log_format: LogFormat, block: bytes, *, leniently: bool = False) -> int:
    """Count the lines of a block that fit a format, durations included."""
    return len(fitting_lines(log_format, block, leniently=leniently))


@lru_cache(maxsize=64)
def _reader(log_format: LogFormat) -> Reader:
    """A reader for detection; to make one takes longer than to look at a few lines with it."""
    return reader_of(log_format, ("request", "status", "duration"))


def fitting_lines(log_format: LogFormat, block: bytes, *, leniently: bool = False) -> list[bytes]:
    """The lines of a block that fit a format, durations included."""
    reader = _reader(log_format)
    rows = reader.rows(block)
    status = reader.columns.index("status")
    leniently = leniently or log_format.is_json
    for n, row in enumerate(rows):  # leniency is only for what the server's own escaping makes ambiguous
        if not row[status] and (leniently or b'\\"' in row[-1]):
            rows[n] = reader.again(row[-1]) or row
    lines = zip(block.split(b"\n"), rows, strict=False)
    if "duration" not in reader.columns:
        return [line for line, row in lines if row[status]]
    column, unit = reader.columns.index("duration"), log_format.duration_unit
    return [line for line, row in lines if row[status] and is_duration(row[column], unit)]


def contrary(log_format: LogFormat, lines: Sequence[bytes]) -> int:
    """Count what lines have that the format's server never writes: it decides between equal layouts."""
    never = NEVER_WRITES.get(log_format.server)
    return len(never.findall(b"\n".join(lines))) if never and not log_format.is_json else 0


def json_format(block: bytes, fields: Mapping[str, str]) -> tuple[LogFormat | None, str]:
    """Find the format of JSON lines by the names of their keys, and what to say of it.

    None where the needed keys are not found; then what is said is what to do about it.
    """
    seen: dict[str, list[object]] = {}
    for item in objects(block)[1]:
        for key, value in flat(item):
            seen.setdefault(key, []).append(value)
    layout, note = {}, ""
    for role, choices in JSON_KEYS.items():
        named, unit = split_unit(fields.get(role, ""))
        key = named or next((key for key, _ in choices if key in seen), "")
        if not key or key in layout:  # upstream_response_time may be both; its format knows
            continue
        variable = _BY_UNIT[unit] if unit else dict(choices).get(key, UNKNOWN if role == "duration" else "")
        if role == "duration" and not variable:
            variable, note = _by_looks(key, seen.get(key, []))
        layout[key] = f"${variable or choices[0][1]}"
    log_format = LogFormat("json", json.dumps(layout), "json")
    try:
        log_format.validate()
    except FormatError:
        keys = ", ".join([*seen][:12])
        return None, (
            f"the JSON lines have no key known for {_missing(layout)}; they have {keys}; "
            "name them, as in --field method=verb --field target=url --field status=code"
        )
    return log_format, note


def _by_looks(key: str, values: list[object]) -> tuple[str, str]:
    """Guess the variable for a duration of unknown unit: with decimals seconds, without them microseconds."""
    decimal = any("." in str(value) or "e" in str(value).lower() for value in values)
    variable, unit = (_SECONDS, "seconds") if decimal else (_US, "microseconds")
    return variable, (
        f"{key!r} is taken as {unit}, since its numbers have {'' if decimal else 'no '}decimals; "
        f"if they are not, say --field duration={key}:ms (or :s, :us, :ns)"
    )


def _missing(layout: Mapping[str, str]) -> str:
    found = set(layout.values())
    needed = {"the status": {"$status"}, "the method": {"$request", "$request_method"}}
    needed["the target"] = {"$request", "$request_uri"}
    return " and ".join(what for what, variables in needed.items() if not variables & found)
