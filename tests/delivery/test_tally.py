"""The tally of a listener: every dialect is read and summed, in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstatsd.delivery.dialects import DIALECTS, format_ms
from logstatsd.delivery.naming import Naming
from logstatsd.delivery.tally import Sample, Tally, parse
from logstatsd.model.route import Route


@pytest.mark.parametrize(
    ("line", "sample"),
    [
        (b"a.b:1.5|ms", Sample("a.b", "ms", (), (1.5,))),
        (b"a:1:2:3|ms|@0.5|#k:v,canary", Sample("a", "ms", ("k:v", "canary"), (1, 2, 3), 0.5)),
        (b"a:1|c|#k:/x/_int:id_|T1700000000", Sample("a", "c", ("k:/x/_int:id_",), (1,), 1, 1_700_000_000)),
        (b"a:1|d|#k:v|c:abc|e:it", Sample("a", "d", ("k:v",), (1,))),
        (b"a;k=v;l=w:2|ms", Sample("a", "ms", ("k:v", "l:w"), (2,))),
        (b"a,k=v,l=w:2|h|@0.1", Sample("a", "h", ("k:v", "l:w"), (2,), 0.1)),
        (b"a:+1|g", Sample("a", "g", (), (1,))),
    ],
)
def test_every_dialect_is_read(line: bytes, sample: Sample) -> None:
    assert parse(line) == sample


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"a",
        b"a:1",
        b":1|ms",
        b"a:|ms",
        b"a:x|ms",
        b"a:nan|ms",
        b"a:inf|c",
        b"a:1|",
        b"a:1|ms|@0",
        b"a:1|c|Tx",
    ],
)
def test_what_is_not_statsd_is_counted_as_such(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(line)
    tally = Tally()
    tally.add(b"good:1|ms\n" + line + b"\n")
    assert (tally.values, tally.malformed) == (1, 1 if line else 0)


@given(st.binary())
def test_no_packet_is_too_strange(packet: bytes) -> None:
    tally = Tally()
    tally.add(packet)
    assert tally.values == sum(row.count for row in tally.sums.values())


@pytest.mark.parametrize("dialect", DIALECTS)
@given(st.text(), st.integers(0, 10**9))
def test_what_our_dialects_write_is_read_back(dialect: str, rule: str, duration_us: int) -> None:
    (metric,) = Naming("shop").metrics(Route("/" + rule, "get", "matched"), "GET", 200)
    head, tail = DIALECTS[dialect].encode(metric, "ms", 1, None)
    sample = parse((head + format_ms(duration_us) + tail).rstrip(b"\n"))
    assert sample.values == (duration_us / 1000,)
    if dialect == "dogstatsd":
        assert (sample.name, sample.tags) == metric


def test_values_are_summed_by_name_type_and_tags() -> None:
    tally = Tally()
    tally.add(b"a:1:3|ms|#k:v\na:8|ms|#k:v\na:5|ms|#k:w\na:1|c|#k:v\n")
    assert tally.as_json() == {
        "schema": 1,
        "values": 5,
        "malformed": 0,
        "refused": 0,
        "series": [
            {"name": "a", "type": "c", "tags": ["k:v"], "values": 1, "sum": 1, "min": 1, "max": 1},
            {"name": "a", "type": "ms", "tags": ["k:v"], "values": 3, "sum": 12, "min": 1, "max": 8},
            {"name": "a", "type": "ms", "tags": ["k:w"], "values": 1, "sum": 5, "min": 5, "max": 5},
        ],
    }


def test_series_without_end_stay_in_bounded_memory() -> None:
    tally = Tally(max_series=3)
    tally.add(b"".join(b"m%d:1|ms\n" % number for number in range(10)))
    assert len(tally.sums) == 4
    assert tally.values == 10
