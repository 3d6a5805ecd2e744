"""A distribution is exact to 4,096 distinct durations, within 0.28 % beyond, in whatever order it is made."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from fractions import Fraction
from math import ceil

import pytest
from batches import USERS, batch, series
from hypothesis import given, settings
from hypothesis import strategies as st

from logstatsd.model.batch import Batch
from logstatsd.model.distribution import DISTINCT, Distribution, octave, place_of, value_at
from logstatsd.model.filters import Excluded
from logstatsd.model.line_counts import LineCounts
from logstatsd.model.route import METHOD_NOT_ALLOWED, UNMATCHED, Route
from logstatsd.report.summary import DIMENSIONS, Summary

RANKS = [0.5, 0.95, 0.99]

durations = st.one_of(st.integers(0, 2_000), st.integers(0, 10**8), st.integers(0, 10**15))
multisets = st.dictionaries(st.one_of(st.none(), durations), st.integers(1, 1_000), max_size=30)
seeds = st.integers(0, 2**32)


def nearest_rank(values: list[int], rank: float) -> int:
    """The quantile by its definition: the smallest value that at least this share does not exceed."""
    return sorted(values)[max(1, ceil(Fraction(str(rank)) * len(values))) - 1]


def many(distinct: int, seed: int = 1) -> dict[int | None, int]:
    """So many different durations, of a few microseconds to an hour."""
    chance = random.Random(seed)
    found: dict[int | None, int] = {}
    while len(found) < distinct:
        found[int(10 ** chance.uniform(0, 9.5))] = chance.randint(1, 3)
    return found


def flat(multiset: dict[int | None, int]) -> list[int]:
    return [value for value, times in multiset.items() if value is not None for _ in range(times)]


def of(*multisets: dict[int | None, int]) -> Distribution:
    made = Distribution()
    for multiset in multisets:
        made.add(multiset)
    return made


def state(distribution: Distribution) -> tuple[object, ...]:
    """All there is to a distribution."""
    return tuple(getattr(distribution, name) for name in Distribution.__slots__)


# --- figures ----------------------------------------------------------------------------------------------


@given(st.lists(multisets, max_size=5))
def test_count_sum_min_and_max_are_exact(parts: list[dict[int | None, int]]) -> None:
    made, values = of(*parts), [value for part in parts for value in flat(part)]
    assert (made.count, made.total_us) == (len(values), sum(values))
    assert (made.min_us, made.max_us) == (min(values, default=None), max(values, default=0))


@given(multisets.filter(flat), st.lists(st.integers(0, 1_000), min_size=1, max_size=4))
def test_quantiles_are_nearest_rank(multiset: dict[int | None, int], permille: list[int]) -> None:
    ranks = sorted(number / 1_000 for number in permille)
    expected = [nearest_rank(flat(multiset), rank) for rank in ranks]
    assert of(multiset).quantiles(ranks) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7], [7, 7, 7]),
        ([1, 2], [1, 2, 2]),
        (range(1, 101), [50, 95, 99]),
        (range(1, 102), [51, 96, 100]),
        (range(1, 21), [10, 19, 20]),
    ],
)
def test_quantiles_as_in_the_textbook(values: range, expected: list[int]) -> None:
    assert of(dict.fromkeys(values, 1)).quantiles(RANKS) == expected


def test_nothing_timed_has_no_quantiles() -> None:
    empty = of({None: 5})
    assert empty.quantiles(RANKS) == [None] * 3
    assert (empty.count, empty.total_us, empty.min_us) == (0, 0, None)


def test_4096_distinct_durations_are_kept_as_they_are() -> None:
    assert DISTINCT == 4_096
    multiset = many(DISTINCT)
    assert of(multiset).quantiles(RANKS) == [nearest_rank(flat(multiset), rank) for rank in RANKS]


@settings(max_examples=5)
@given(seeds)
def test_one_more_is_within_a_quarter_of_a_percent(seed: int) -> None:
    multiset = many(DISTINCT + 1, seed)
    made, values = of(multiset), flat(multiset)
    exact = [nearest_rank(values, n / 100) for n in range(101)]
    kept = made.quantiles([n / 100 for n in range(101)])
    assert any(a != b for a, b in zip(exact, kept, strict=True)), "so many were to be rounded"
    assert all(b is not None and abs(a - b) <= 0.0028 * a + 0.5 for a, b in zip(exact, kept, strict=True))
    assert (made.min_us, made.max_us) == (min(values), max(values))


def test_memory_is_bounded() -> None:
    made = of(many(40_000))
    assert made._buckets is not None
    assert len(made._buckets) < 32 * 128
    assert not made._exact


@given(st.one_of(durations, st.integers(0, 10**21)))
def test_a_bucket_stands_for_its_durations(value: int) -> None:
    place = place_of(value)
    shown = value_at(place)
    assert abs(shown - value) * 10_000 <= 28 * value + 5_000, "0.28 %, and half a microsecond"
    assert place_of(shown) == place
    assert place_of(value + 1) in (place, place + 1) or value < 200


@given(st.integers(0, 70), st.integers(0, 127))
def test_borders_are_roots_of_two_rounded_down(power: int, number: int) -> None:
    border = octave()[number] >> 70 - power
    assert border**128 <= 2 ** (128 * power + number) < (border + 1) ** 128
    assert place_of(border) == 128 * power + number + 1 or border**128 < 2 ** (128 * power + number)
    assert place_of(border + 1) > 128 * power + number


@given(durations, durations)
def test_buckets_keep_the_order(one: int, other: int) -> None:
    assert (value_at(place_of(one)) <= value_at(place_of(other))) or one > other


# --- merging ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distinct", [10, DISTINCT - 1, DISTINCT, DISTINCT + 1, 3 * DISTINCT])
@settings(max_examples=8)
@given(seed=seeds)
def test_any_order_of_adding_and_merging_gives_the_same(distinct: int, seed: int) -> None:
    chance = random.Random(seed)
    multiset = many(distinct, seed % 3)
    assert state(_grown(_split(multiset, chance), chance)) == state(of(multiset))


def _split(multiset: dict[int | None, int], chance: random.Random) -> list[dict[int | None, int]]:
    """Deal a multiset out to a few, each value's count to one or to two of them."""
    parts: list[Counter[int | None]] = [Counter() for _ in range(chance.randint(1, 6))]
    for value, times in multiset.items():
        first = chance.randint(0, times)
        chance.choice(parts)[value] += first
        chance.choice(parts)[value] += times - first
    return [dict(+part) for part in parts]


def _grown(parts: list[dict[int | None, int]], chance: random.Random) -> Distribution:
    """Add parts to distributions, and merge these, in any order."""
    grown = [Distribution() for _ in range(chance.randint(1, 3))]
    for part in parts:
        chance.choice(grown).add(part)
    chance.shuffle(grown)
    while len(grown) > 1:
        grown[chance.randrange(len(grown) - 1)].merge(grown.pop())
    return grown[0]


# --- groups -----------------------------------------------------------------------------------------------

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


def test_a_rule_is_left_out_by_its_own_name_though_it_looks_like_a_pattern() -> None:
    odd = Route("/<any(a, [b]*):x>/", "odd", "matched")
    assert odd in Excluded([odd.rule])


def test_an_excluded_series_takes_its_cpu_time_along() -> None:
    one = Batch(LineCounts(lines=1), timings={series(): {1: 1}}, cpu={series(): {1: 1}})
    assert Excluded(["users.get"]).take_out(one) == 1
    assert not one.timings
    assert not one.cpu
