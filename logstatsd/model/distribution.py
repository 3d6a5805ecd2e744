"""Distribution: durations in bounded memory, of stated error, that merge in any order."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from functools import cache
from itertools import zip_longest
from math import ceil, isqrt
from operator import mul
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DISTINCT = 4_096

SCALE = 7
"""Buckets double their borders 2**SCALE times an octave."""
_AN_OCTAVE = 1 << SCALE
_TOP_BIT = 70
"""Borders are worked out at this power of two, which no duration reaches, and shifted down."""


@cache
def octave(top_bit: int = _TOP_BIT) -> tuple[int, ...]:
    """The borders of one octave, `floor(2 ** (top_bit + j / 128))`, by square roots of whole numbers."""
    borders = []
    for number in range(_AN_OCTAVE):
        border = 1 << (top_bit * _AN_OCTAVE + number)
        for _ in range(SCALE):
            border = isqrt(border)
        borders.append(border)
    return tuple(borders)


def place_of(value_us: int) -> int:
    """The place of a duration's bucket: 0 for zero, else its index and two.

    The bucket of index `i` covers (2^(i/128), 2^((i+1)/128)] microseconds, so that 1 has the index -1.
    """
    if not value_us:
        return 0
    power = value_us.bit_length() - 1
    scaled = value_us << _TOP_BIT - power if power <= _TOP_BIT else value_us >> power - _TOP_BIT
    return power * _AN_OCTAVE + bisect_left(octave(), scaled) + 1


def _border(index: int) -> int:
    power, number = divmod(index, _AN_OCTAVE)
    return octave()[number] >> _TOP_BIT - power if power <= _TOP_BIT else octave()[number] << power - _TOP_BIT


def value_at(place: int) -> int:
    """The duration that stands for a bucket: the one whose error is the same at both of its ends."""
    if not place:
        return 0
    least, most = _border(place - 2) + 1, _border(place - 1)
    return (2 * least * most + (least + most) // 2) // (least + most)


class Distribution:
    """Durations of one group, in microseconds, in bounded memory.

    Values are kept **exactly while there are at most 4,096 distinct ones**, and beyond that in a **base-2
    exponential histogram of scale 7**: then a quantile is at most 0.28 % off the nearest-rank quantile of the
    exact values, before it is rounded to a whole microsecond. Count, sum, minimum and maximum are always
    exact. Merging in any order gives the same distribution: the number of distinct values only grows, and a
    value's bucket depends on nothing else.
    """

    __slots__ = ("_buckets", "_exact", "count", "max_us", "min_us", "total_us")

    def __init__(self) -> None:
        self._exact: dict[int, int] = {}
        self._buckets: array[int] | None = None
        self.count = self.total_us = self.max_us = 0
        self.min_us: int | None = None

    @classmethod
    def of_buckets(
        cls, buckets: array[int], *, count: int, total_us: int, min_us: int, max_us: int
    ) -> Distribution:
        """A distribution of many distinct values, gathered elsewhere: counts by `place_of`."""
        made = cls()
        made._buckets = buckets
        made._note(count, total_us, min_us, max_us)
        return made

    @property
    def exact(self) -> bool:
        """Whether every value is kept."""
        return self._buckets is None

    def add(self, durations: Mapping[int | None, int]) -> None:
        """Add a multiset `{duration_us: count}`; None, a request without a duration, is passed over."""
        timed = {value: times for value, times in durations.items() if value is not None}
        if timed:
            self._put(timed)
            total_us = sum(map(mul, timed, timed.values()))
            self._note(sum(timed.values()), total_us, min(timed), max(timed))

    def merge(self, other: Distribution) -> None:
        """Add another distribution to this one."""
        if other.min_us is None:
            return
        if other._buckets is None:
            self._put(other._exact)
        elif self._buckets is None:
            exact, self._exact, self._buckets = self._exact, {}, other._buckets[:]
            self._put(exact)
        else:
            self._buckets = array("Q", map(sum, zip_longest(self._buckets, other._buckets, fillvalue=0)))
        self._note(other.count, other.total_us, other.min_us, other.max_us)

    def _put(self, timed: Mapping[int, int]) -> None:
        exact = self._exact
        if self._buckets is None:
            for value, times in timed.items():
                exact[value] = exact.get(value, 0) + times
            if len(exact) <= DISTINCT:
                return
            timed, self._exact, self._buckets = exact, {}, array("Q")
        buckets = self._buckets
        highest = place_of(max(timed, default=0))
        buckets.extend([0] * (highest + 1 - len(buckets)))
        for value, times in timed.items():
            buckets[place_of(value)] += times

    def _note(self, count: int, total_us: int, min_us: int, max_us: int) -> None:
        self.count += count
        self.total_us += total_us
        self.min_us = min_us if self.min_us is None else min(self.min_us, min_us)
        self.max_us = max(self.max_us, max_us)

    def quantiles(self, ranks: Sequence[float]) -> list[int | None]:
        """The nearest-rank quantiles for ascending `ranks` between 0 and 1; None where nothing was timed."""
        if self.min_us is None:
            return [None] * len(ranks)
        found: list[int | None] = []
        values = iter(sorted(self._exact.items()) if self._buckets is None else enumerate(self._buckets))
        value, seen = 0, 0
        for rank in ranks:
            while seen < max(1, ceil(rank * self.count - 1e-9)):
                value, times = next(values)
                seen += times
            shown = value if self._buckets is None else value_at(value)
            found.append(min(max(shown, self.min_us), self.max_us))
        return found
