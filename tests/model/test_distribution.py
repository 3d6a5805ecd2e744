"""A distribution is exact to 4,096 distinct durations, within 0.28 % beyond, in whatever order it is made."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logstatsd.model.distribution import DISTINCT, Distribution, octave, place_of, value_at

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
