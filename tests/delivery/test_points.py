"""Points with the log's own time: each ten seconds of each metric once, in order, marked where old."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
from batches import batch, series
from hypothesis import given
from hypothesis import strategies as st
from payloads import Payloads

from logstatsd.delivery.encoders.points import BUCKET_S, LATE_S, POINTS, PointEncoder, history_note
from logstatsd.delivery.naming import Naming
from logstatsd.model.batch import Batch
from logstatsd.model.route import UNMATCHED

if TYPE_CHECKING:
    from logstatsd.delivery.encoders.encoder import Totals

START_S = 1_700_000_000
LINE = re.compile(r"(?P<name>[\w.]+):(?P<value>[\d.]+)\|(?P<type>[cg])\|#(?P<tags>[^|]+)\|T(?P<at>\d+)")


def points(*batches: Batch, now_s: float = START_S, **naming: object) -> tuple[list[re.Match[str]], Totals]:
    """The points that batches become, and the totals."""
    sink = Payloads()
    sending = PointEncoder(Naming("shop", **naming), sink, now=lambda: now_s)  # type: ignore[arg-type]
    for item in batches:
        sending.add(item)
    totals = sending.finish()
    found = [LINE.fullmatch(line) for line in sink.lines]
    return [point for point in found if point], totals


def test_ten_seconds_become_a_count_and_four_gauges() -> None:
    durations = [*range(1_000, 101_000, 1_000), None]
    found, totals = points(batch(*durations, at_s=START_S + 3, route=UNMATCHED, status=404))
    assert [(point["name"], point["value"], point["type"]) for point in found] == [
        ("shop.api.request.count", "100", "c"),
        ("shop.api.request.p50", "50", "g"),
        ("shop.api.request.p95", "95", "g"),
        ("shop.api.request.p99", "99", "g"),
        ("shop.api.request.max", "100", "g"),
    ]
    assert {point["at"] for point in found} == {str(START_S)}
    assert {point["tags"] for point in found} == {"http_method:GET,http_status_code:404,url_rule:unmatched"}
    assert (totals.due, totals.sent, totals.untimed) == (5, 5, 1)


def test_the_otel_scheme_has_points_in_seconds() -> None:
    found, _ = points(batch(1_500, at_s=START_S), scheme="otel")
    assert [point["value"] for point in found] == ["1"] + ["0.0015"] * 4


def test_ten_seconds_are_held_until_the_log_has_moved_on() -> None:
    sink = Payloads()
    sending = PointEncoder(Naming("shop"), sink)
    sending.add(batch(1_000, at_s=START_S))
    sending.flush()
    sending.add(batch(1_000, at_s=START_S + BUCKET_S + LATE_S))
    assert not sink.lines
    sending.add(batch(1_000, at_s=START_S + 2 * BUCKET_S + LATE_S))
    sending.flush()
    assert len(sink.lines) == POINTS
    sending.finish()
    assert len(sink.lines) == 3 * POINTS


def test_a_line_that_comes_too_late_makes_a_point_of_its_own_and_replaces_none() -> None:
    found, totals = points(*(batch(1_000, at_s=at_s) for at_s in (START_S, START_S + 1_000, START_S + 5)))
    counts = [int(point["at"]) - START_S for point in found if point["type"] == "c"]
    assert counts == [0, 1, 1_000]
    assert totals.dropped == 0


def test_the_eleventh_point_of_ten_seconds_has_no_second_left_and_is_counted_as_lost() -> None:
    late = [batch(1_000, at_s=START_S + after) for _ in range(11) for after in (1_000, 0)]
    _, totals = points(*late)
    assert totals.dropped > 0
    assert totals.due == totals.sent + totals.dropped


def test_points_over_an_hour_old_are_flagged() -> None:
    _, totals = points(batch(1, at_s=START_S), batch(1, at_s=START_S + 3_000), now_s=START_S + 3_601)
    assert (totals.historical, totals.oldest_s) == (5, START_S)
    note = history_note(totals)
    assert note is not None
    assert "5 of the points" in note
    assert "Historical Metrics Ingestion" in note
    _, totals = points(batch(1, at_s=START_S), now_s=START_S + 60)
    assert history_note(totals) is None


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 10**6)), min_size=1, max_size=60))
def test_each_point_is_sent_once_in_order_and_holds_all_its_requests(
    requests: list[tuple[int, int]],
) -> None:
    ordered = sorted(requests)
    batches = [batch(us, at_s=START_S + after) for after, us in ordered]
    found, totals = points(*batches)
    stamps = [int(point["at"]) for point in found]
    assert stamps == sorted(stamps)
    assert len({(point["name"], point["at"]) for point in found}) == len(found) == totals.due
    expected: dict[int, list[int]] = defaultdict(list)
    for after, us in ordered:
        expected[START_S + after // 10 * 10].append(us)
    counts = {int(point["at"]): int(point["value"]) for point in found if point["type"] == "c"}
    assert counts == {at_s: len(durations) for at_s, durations in expected.items()}
    longest = {int(p["at"]): float(p["value"]) for p in found if p["name"].endswith(".max")}
    assert longest == {at_s: max(durations) / 1000 for at_s, durations in expected.items()}


def test_requests_without_a_time_are_counted_not_placed() -> None:
    found, totals = points(Batch(timings={series(): {1_000: 3}}))
    assert (found, totals.undated, totals.untimed, totals.due) == ([], 3, 0, 0)


def test_no_timing_ever_has_a_timestamp() -> None:
    found, _ = points(batch(1, at_s=START_S))
    assert {point["type"] for point in found} == {"c", "g"}


@pytest.mark.parametrize("cpu", [False, True])
def test_cpu_times_have_points_of_their_own(cpu: bool) -> None:
    tally = {series(at_s=START_S): {2_000: 1}}
    found, _ = points(Batch(cpu=tally) if cpu else Batch(timings=tally))  # type: ignore[arg-type]
    assert found[0]["name"] == ("shop.api.request.cpu.count" if cpu else "shop.api.request.count")
