"""Parse durations to microseconds, and moments to Unix seconds."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

LONGEST_DIGITS = 15
"""A number of more digits is not a duration: 10**15 microseconds are thirty years."""

_NUMBER = re.compile(rb"\d{1,40}(?:\.\d{0,40})?(?:[eE][+-]?\d{1,3})?")


def _whole(scale_us: int) -> Callable[[bytes], int]:
    def convert(text: bytes) -> int:
        if not text.isdigit() or len(text) > LONGEST_DIGITS:
            raise ValueError(text)
        return int(text) * scale_us

    return convert


def _decimal_seconds(decimals: int) -> Callable[[bytes], int]:
    def convert(text: bytes) -> int:
        whole, _, fraction = text.partition(b".")
        if (
            len(fraction) != decimals
            or not (whole + fraction).isdigit()
            or not 0 < len(whole) <= LONGEST_DIGITS - 6
        ):
            raise ValueError(text)
        return int(whole + fraction.ljust(6, b"0"))

    return convert


def _any_number(scale_us: Decimal) -> Callable[[bytes], int]:
    """Parse a number as JSON writers have it: with any number of decimals, or an exponent."""

    def convert(text: bytes) -> int:
        if not _NUMBER.fullmatch(text):
            raise ValueError(text)
        number = Decimal(text.decode("ascii"))
        if (number * scale_us).adjusted() >= LONGEST_DIGITS:
            raise ValueError(text)
        return int((number * scale_us).to_integral_value())

    return convert


def _seconds_of_each_upstream(text: bytes) -> int:
    """Add up nginx's list of one time per upstream asked, `0.010, 0.020 : 0.030`; `-` counts nothing."""
    return sum(_decimal_seconds(3)(part) for part in _each_upstream(text) if part != b"-")


def _each_upstream(text: bytes) -> list[bytes]:
    return text.replace(b" : ", b", ").split(b", ")


def _with_its_unit(text: bytes) -> int:
    """Parse `42 msecs`, as uWSGI writes it by default."""
    number, _, unit = text.partition(b" ")
    if unit not in _UWSGI_UNITS:
        raise ValueError(text)
    return _whole(_UWSGI_UNITS[unit])(number)


_UWSGI_UNITS = {b"micros": 1, b"msecs": 1_000, b"secs": 1_000_000}

UNITS: dict[str, Callable[[bytes], int]] = {
    "microseconds": _whole(1),
    "milliseconds": _whole(1_000),
    "whole seconds": _whole(1_000_000),
    "seconds, to the millisecond": _decimal_seconds(3),
    "seconds, to the microsecond": _decimal_seconds(6),
    "seconds": _any_number(Decimal(1_000_000)),
    "milliseconds, maybe with decimals": _any_number(Decimal(1_000)),
    "microseconds, maybe with decimals": _any_number(Decimal(1)),
    "nanoseconds": _any_number(Decimal("0.001")),
    "as written": _with_its_unit,
    "seconds of each upstream, added": _seconds_of_each_upstream,
}


@lru_cache(maxsize=65_536)
def duration_us(text: bytes, unit: str) -> int | None:
    """Return a logged duration in microseconds, None where the log has none (`-` or nothing).

    Raises ValueError for what is no duration: a negative, NaN, infinity, words, absurd length.
    """
    if text in (b"", b"-") or (b" " in text and set(_each_upstream(text)) == {b"-"}):
        return None
    return UNITS[unit](text)


def is_duration(text: bytes, unit: str) -> bool:
    """Whether a logged text is a duration, or says that there is none."""
    try:
        duration_us(text, unit)
    except ValueError:
        return False
    return True


_SCALES_US = {"microseconds": 1, "milliseconds": 1_000, "whole seconds": 1_000_000}


def durations_us(texts: Collection[bytes], unit: str) -> list[int | None]:
    """Parse many durations at once: whole numbers in a few calls. Raises ValueError for any odd one."""
    scale_us = _SCALES_US.get(unit)
    if scale_us and b"".join(texts).isdigit() and max(map(len, texts)) <= LONGEST_DIGITS and b"" not in texts:
        return [value * scale_us for value in map(int, texts)]
    return [duration_us(text, unit) for text in texts]


_MONTHS = {
    name: n
    for n, name in enumerate(
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], 1
    )
}


EARLIEST_S, LATEST_S = -62_135_424_000, 253_402_128_000
"""3 January of year 1, 30 December of year 9999: what calendars have in any zone lies between."""


@lru_cache(maxsize=1_024)
def _hour_s(hour: str, offset: str) -> int:
    """Find when an hour such as `22/Nov/2026:13`, at an offset such as `+0100`, begins, in Unix seconds."""
    day, month, rest = hour.split("/")
    year, hours = rest.split(":")
    shift = (int(offset[1:3]) * 60 + int(offset[3:5])) * (-60 if offset[0] == "-" else 60)
    at_utc = calendar.timegm((int(year), _MONTHS[month], int(day), int(hours), 0, 0))
    datetime(int(year), _MONTHS[month], int(day), int(hours), tzinfo=UTC)  # refuses 31 February
    return at_utc - shift


def _clf_s(text: str) -> float:
    """Parse `22/Nov/2026:13:25:15 +0000`, with or without brackets."""
    text = text.strip("[]")
    if len(text) != 26 or text[14] != ":" or text[17] != ":":
        raise ValueError(text)
    return _hour_s(text[:14], text[21:]) + int(text[15:17]) * 60 + int(text[18:20])


def _iso_s(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _unix_s(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < 1e14:
        raise ValueError(text)
    return seconds if seconds < 1e11 else seconds / 1_000  # milliseconds, as JavaScript and Java count


def _worded_s(form: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        return datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()

    return parse


_FORMS = (_clf_s, _iso_s, _unix_s, _worded_s("%d/%b/%Y %H:%M:%S"), _worded_s("%a %b %d %H:%M:%S %Y"))


def moment_s(text: bytes) -> float | None:
    """Return a logged moment in unix seconds, whichever of the usual forms it has; None for anything else.

    Understood: the common log format's, ISO 8601, unix seconds or milliseconds, and the ways in which
    Werkzeug (`22/Nov/2026 13:25:15`) and uWSGI (`Sun Nov 22 13:25:15 2026`) write it. Taken as UTC where no
    offset is given. A moment in the year 0 or 10000, in some zone, is none.
    """
    word = text.decode("latin-1")
    for parse in _FORMS:
        try:
            moment = parse(word)
            if EARLIEST_S <= moment < LATEST_S:
                return moment
        except (ValueError, KeyError, OverflowError):
            continue
    return None


def zone_of(text: bytes) -> tzinfo | None:
    """Find the offset from UTC that a logged moment is written with; None where it has none."""
    word = text.decode("latin-1").strip("[]")
    if match := re.search(r"([+-])(\d\d):?(\d\d)$", word):
        minutes = int(match[2]) * 60 + int(match[3])
        return (
            timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes)) if minutes < 1440 else None
        )
    return UTC if word.endswith("Z") else None


@lru_cache(maxsize=4_096)
def iso_logged(time: bytes) -> str | None:
    """Write a logged moment as ISO 8601, with the log's own offset; None for a year that it cannot write."""
    moment = moment_s(time)
    try:
        return None if moment is None else datetime.fromtimestamp(moment, zone_of(time) or UTC).isoformat()
    except (ValueError, OverflowError):
        return None
