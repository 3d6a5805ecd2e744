"""A summary: groups by any dimensions, in whatever order batches come, without what is left out."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from batches import USERS, batch, series
from hypothesis import given
from hypothesis import strategies as st

from logstatsd.model.batch import Batch
from logstatsd.model.filters import Excluded
from logstatsd.model.line_counts import LineCounts
from logstatsd.model.route import METHOD_NOT_ALLOWED, UNMATCHED, Route
from logstatsd.report.summary import DIMENSIONS, Summary

ORDERS = Route("/orders/<uuid:id>", "orders.get", "matched")
ORDERS_TOO = Route("/my/orders/<uuid:id>", "orders.get", "matched")
TRAFFIC = {
    series(USERS): {1_000: 3, 2_000: 1},
    series(USERS, status=404): {500: 2},
    series(USERS, method="DELETE", status=500): {9_000: 1},
    series(ORDERS): {4_000: 5},
    series(ORDERS_TOO): {6_000: 1, None: 2},
    series(UNMATCHED, status=404): {100: 7},
    series(METHOD_NOT_ALLOWED, method="PUT", status=405): {100: 1},
}  # fmt: skip


def traffic() -> Batch:
    counts = LineCounts(25, rejected=Counter(empty=2))
    return Batch(counts, timings={key: dict(value) for key, value in TRAFFIC.items()})


@pytest.mark.parametrize(
    "by", [by for n in (1, 2, 3, 4) for by in itertools.permutations(DIMENSIONS, n)], ids=" ".join
)
def test_groups_by_any_dimensions_add_up(by: tuple[str, ...]) -> None:
    summary = Summary(by)
    summary.add(traffic())
    expected: Counter[tuple[str, tuple[object, ...]]] = Counter()
    for one, multiset in TRAFFIC.items():
        values = tuple(DIMENSIONS[name](one) for name in by)
        expected[one.route.outcome, values] += sum(multiset.values())
    assert {
        (route.outcome, values): group.requests for (route, values), group in summary.groups.items()
    } == expected
    assert sum(group.errors_4xx for group in summary.groups.values()) == 10
    assert sum(group.errors_5xx for group in summary.groups.values()) == 1
    assert (summary.counts.lines, summary.counts.parsed, summary.timed) == (25, 23, 21)
    assert summary.total_us == sum(
        value * n for part in TRAFFIC.values() for value, n in part.items() if value
    )


def test_two_rules_of_an_endpoint_are_one_row_by_endpoint() -> None:
    summary = Summary(("endpoint",))
    summary.add(traffic())
    (orders,) = [group for (route, _), group in summary.groups.items() if route.endpoint == "orders.get"]
    assert (orders.requests, orders.wall.count, orders.wall.max_us) == (8, 6, 6_000)


def test_cpu_time_is_kept_apart() -> None:
    summary = Summary()
    summary.add(Batch(LineCounts(lines=1), timings={series(): {9_000: 1}}, cpu={series(): {40: 1}}))
    (group,) = summary.groups.values()
    assert (group.requests, group.wall.max_us, group.cpu.max_us) == (1, 9_000, 40)


@given(st.permutations([batch(n * 1_000, None, status=n, at_s=None) for n in (200, 404, 500)]))
def test_batches_may_come_in_any_order(batches: list[Batch]) -> None:
    summary = Summary()
    for one in batches:
        summary.add(one)
    (group,) = summary.groups.values()
    assert (group.requests, group.errors_4xx, group.errors_5xx) == (6, 2, 2)
    assert group.wall.quantiles([0, 0.5, 1]) == [200_000, 404_000, 500_000]


# --- what is left out -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ([], {USERS, ORDERS, ORDERS_TOO, UNMATCHED, METHOD_NOT_ALLOWED}),
        (["/users/<int:id>"], {ORDERS, ORDERS_TOO, UNMATCHED, METHOD_NOT_ALLOWED}),
        (["orders.get"], {USERS, UNMATCHED, METHOD_NOT_ALLOWED}),
        (["/my/*"], {USERS, ORDERS, UNMATCHED, METHOD_NOT_ALLOWED}),
        (["*.get"], {UNMATCHED, METHOD_NOT_ALLOWED}),
        (["unmatched", "(method not allowed)"], {USERS, ORDERS, ORDERS_TOO}),
        (["/users/"], {USERS, ORDERS, ORDERS_TOO, UNMATCHED, METHOD_NOT_ALLOWED}),
    ],
)
def test_rules_and_endpoints_are_left_out_and_counted(patterns: list[str], left: set[Route]) -> None:
    summary = Summary(excluded_routes=Excluded(patterns))
    summary.add(traffic())
    assert {route for route, _ in summary.groups} == left
    kept = sum(group.requests for group in summary.groups.values())
    assert (kept + summary.counts.excluded, summary.counts.parsed) == (23, 23), "excluded ones were parsed"
