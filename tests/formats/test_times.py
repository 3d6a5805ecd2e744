"""Durations as microseconds and moments as unix seconds, from whatever a log has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstatsd.formats.times import UNITS, duration_us, moment_s, zone_of

AT_S = datetime(2026, 11, 22, 13, 25, 15, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "unit", "us"),
    [
        (b"0.042", "seconds, to the millisecond", 42_000),
        (b"0.000", "seconds, to the millisecond", 0),
        (b"3600.001", "seconds, to the millisecond", 3_600_001_000),
        (b"0.042137", "seconds, to the microsecond", 42_137),
        (b"42137", "microseconds", 42_137),
        (b"42", "milliseconds", 42_000),
        (b"3", "whole seconds", 3_000_000),
        (b"0.0421", "seconds", 42_100),
        (b"4.2e-2", "seconds", 42_000),
        (b"42.137", "milliseconds, maybe with decimals", 42_137),
        (b"0.010, 0.020 : 0.030", "seconds of each upstream, added", 60_000),
        (b"-, 0.020", "seconds of each upstream, added", 20_000),
        (b"42 msecs", "as written", 42_000),
        (b"42137 micros", "as written", 42_137),
        (b"0.010", "seconds of each upstream, added", 10_000),
    ],
)
def test_a_duration_is_read_in_its_unit(text: bytes, unit: str, us: int) -> None:
    assert duration_us(text, unit) == us


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("text", [b"", b"-"])
def test_no_duration_is_none(text: bytes, unit: str) -> None:
    assert duration_us(text, unit) is None


@pytest.mark.parametrize("text", [b"-, -", b"- : -", b"-, - : -"])
def test_no_duration_of_any_upstream_is_none(text: bytes) -> None:
    assert duration_us(text, "seconds of each upstream, added") is None


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    "text",
    [
        b"-1",
        b"-0.001",
        b"--",
        b"nan",
        b"inf",
        b"x",
        b"1_000",
        b" 1",
        b"1 ",
        b"\xb2",
        b"1e99",
        b"9" * 20,
        b"0x10",
    ],
)
def test_what_is_no_duration_is_refused(text: bytes, unit: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        duration_us(text, unit)


@given(st.binary(max_size=20), st.sampled_from(sorted(UNITS)))
def test_any_bytes_are_a_duration_or_a_value_error(text: bytes, unit: str) -> None:
    try:
        us = duration_us(text, unit)
    except ValueError:
        return
    assert us is None or 0 <= us < 10**18


@pytest.mark.parametrize(
    "text",
    [
        b"22/Nov/2026:13:25:15 +0000",
        b"[22/Nov/2026:13:25:15 +0000]",
        b"22/Nov/2026:14:25:15 +0100",
        b"22/Nov/2026:08:55:15 -0430",
        b"2026-11-22T13:25:15+00:00",
        b"2026-11-22T13:25:15Z",
        b"2026-11-22T18:55:15+05:30",
        b"2026-11-22 13:25:15",
        b"1795353915",
        b"1795353915.000",
    ],
)
def test_a_moment_is_read_in_every_usual_form(text: bytes) -> None:
    assert moment_s(text) == AT_S


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"-",
        b"yesterday",
        b"31/Feb/2026:13:25:15 +0000",
        b"22/Nov/2026:13:25:15",
        b"-1",
        b"nan",
        b"1e300",
    ],
)
def test_what_is_no_moment_is_none(text: bytes) -> None:
    assert moment_s(text) is None


@given(st.binary(max_size=30))
def test_any_bytes_are_a_moment_or_none(text: bytes) -> None:
    assert moment_s(text) is None or isinstance(moment_s(text), float)


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)), st.integers(-14 * 4, 14 * 4))
def test_every_second_of_every_offset_comes_back(moment: datetime, quarters: int) -> None:
    zone = timezone(timedelta(minutes=15 * quarters))
    given_ = moment.replace(microsecond=0, tzinfo=zone)

    logged = given_.strftime("%d/%b/%Y:%H:%M:%S %z").encode()

    assert moment_s(logged) == given_.timestamp()
    assert zone_of(logged) == zone


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        (b"2026-11-22T13:25:15-03:30", timezone(timedelta(hours=-3, minutes=-30))),
        (b"2026-11-22T13:25:15Z", UTC),
        (b"1795353915.000", None),
        (b"22/Nov/2026:13:25:15 +9999", None),
        (b"", None),
    ],
)
def test_the_logs_own_offset(text: bytes, zone: timezone | None) -> None:
    assert zone_of(text) == zone
