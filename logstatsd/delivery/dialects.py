"""Write metrics as lines of StatsD, in each of DIALECTS."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from logstatsd.delivery.naming import Metric

WIRE_TYPES = {"timing": "ms", "histogram": "h", "distribution": "d", "count": "c", "gauge": "g"}
"""Metric type, as the options name it, to its letters on the wire."""

TIMING_TYPES = tuple(name for name, letters in WIRE_TYPES.items() if letters not in ("c", "g"))
"""Those of them that a duration can have."""

Halves = tuple[bytes, bytes]
"""What stands before and after a value. A line is head + value + tail, and ends in a newline."""


class Dialect(NamedTuple):
    """A way of writing StatsD, and what its servers understand."""

    encode: Callable[[Metric, str, float, int | None], Halves]
    """(metric, letters of the type, sample rate, unix seconds or None) to the halves around a value."""
    types: tuple[str, ...]
    """The timing types that its servers know; another would be taken for a counter, or refused."""
    extended: bool
    """Whether values may share a line (`name:1:2|ms`) and counts and gauges carry a time (`|T`)."""


def dogstatsd(metric: Metric, letters: str, sample_rate: float = 1, timestamp: int | None = None) -> Halves:
    """Write `name:VALUE|ms|@0.5|#key:value,key:value|T1700000000`, as the datadog client does."""
    tags = f"|#{','.join(metric.tags)}" if metric.tags else ""
    time = "" if timestamp is None else f"|T{timestamp}"
    return _halves(metric.name, f"{letters}{_rate(sample_rate)}{tags}{time}")


def statsd(metric: Metric, letters: str, sample_rate: float = 1, _timestamp: int | None = None) -> Halves:
    """Write `name.VALUE1.VALUE2:VALUE|ms`: each tag's value is a further part of the name, in order.

    Within such a part, everything but ASCII letters, digits, `-` and `_` becomes `_`:
    `shop.api.request.GET.200.users_get._users__int_id_`.
    """
    parts = (_PART_UNSAFE.sub("_", _key_value(tag)[1]) for tag in metric.tags)
    return _halves(".".join((metric.name, *parts)), letters + _rate(sample_rate))


def graphite(metric: Metric, letters: str, sample_rate: float = 1, _timestamp: int | None = None) -> Halves:
    """Write `name;key=value;key=value:VALUE|ms`, Graphite's own form of tags."""
    return _halves(";".join((metric.name, *_equations(metric))), letters + _rate(sample_rate))


def influx(metric: Metric, letters: str, sample_rate: float = 1, _timestamp: int | None = None) -> Halves:
    """Write `name,key=value,key=value:VALUE|ms`, InfluxDB's form of tags, which Telegraf reads."""
    return _halves(",".join((metric.name, *_equations(metric))), letters + _rate(sample_rate))


DIALECTS = {
    "dogstatsd": Dialect(dogstatsd, ("timing", "histogram", "distribution"), extended=True),
    "statsd": Dialect(statsd, ("timing",), extended=False),
    "graphite": Dialect(graphite, ("timing",), extended=False),
    "influx": Dialect(influx, ("timing", "histogram", "distribution"), extended=False),
}


def format_ms(duration_us: int) -> bytes:
    """Write microseconds as decimal milliseconds, exact: 12345 is `12.345`, 12000 is `12`."""
    return _decimal(duration_us, 1_000, 3)


def format_s(duration_us: int) -> bytes:
    """Write microseconds as decimal seconds, exact and never with an exponent: 1 is `0.000001`."""
    return _decimal(duration_us, 1_000_000, 6)


UNIT_WRITERS = {"ms": format_ms, "s": format_s}
"""A scheme's unit to the writer of its durations."""


def check_dialect(dialect: str, wire_type: str, unit: str, *, pack: bool) -> None:
    """Raise OptionError where a dialect's servers would misread what is asked for."""
    known = DIALECTS[dialect]
    if pack and not known.extended:
        raise OptionError(f"--pack: {dialect} servers do not read packed values; leave it out")
    if unit != "ms" and known.types == ("timing",):
        raise OptionError(f"--scheme: {dialect} servers know only milliseconds; take --scheme flask")
    if wire_type not in known.types:
        raise OptionError(f"--type {wire_type}: {dialect} servers know only {', '.join(known.types)}")
    if wire_type == "timing" and unit != "ms":
        raise OptionError("--type timing means milliseconds, and this scheme is in seconds; leave it out")


_PART_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


def _halves(name: str, rest: str) -> Halves:
    return f"{name}:".encode(), f"|{rest}\n".encode()


def _rate(sample_rate: float) -> str:
    """Write the mark of a sampled value, without the exponent that servers misread."""
    return "" if sample_rate == 1 else f"|@{sample_rate:.12f}".rstrip("0")


def _key_value(tag: str) -> tuple[str, str]:
    key, colon, value = tag.partition(":")
    return (key, value) if colon else (key, "true")


def _equations(metric: Metric) -> list[str]:
    """Write `key=value` for each tag; a colon would end the name for every reader of these dialects."""
    pairs = map(_key_value, metric.tags)
    return [f"{key}={value.replace(':', '_')}" for key, value in pairs]


def _decimal(duration_us: int, divisor: int, places: int) -> bytes:
    whole, rest = divmod(duration_us, divisor)
    return (f"{whole}.{rest:0{places}d}".rstrip("0") if rest else str(whole)).encode()
