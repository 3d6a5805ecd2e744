"""Distribution: durations in bounded memory, of stated error, that merge in any order."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DISTINCT = 4_096


def three_digits(value: int) -> int:
    """Round to three significant digits, half up: wrong by at most 0.5 %."""
    if value < 1_000:
        return value
    scale: int = 10 ** (len(str(value)) - 3)
    return (value + scale // 2) // scale * scale


class Distribution:
    """Durations of one group, in microseconds, in bounded memory.

    Values are kept **exactly while there are at most 4,096 distinct ones, and to three significant digits
    beyond**: then a quantile is at most 0.5 % off the nearest-rank quantile of the exact values. Count, sum,
    minimum and maximum are always exact. Merging in any order gives the same distribution, since the number
    of distinct values only grows and rounding twice is rounding once.
    """

    __slots__ = ("_exact", "_kept", "count", "max_us", "min_us", "total_us")

    def __init__(self) -> None:
        self._kept: dict[int, int] = {}
        self._exact = True
        self.count = self.total_us = self.max_us = 0
        self.min_us: int | None = None

    def add(self, durations: Mapping[int | None, int]) -> None:
        """Add a multiset `{duration_us: count}`; None, a request without a duration, is passed over."""
        kept, exact = self._kept, self._exact
        count = total = 0
        for value, times in durations.items():
            if value is None:
                continue
            count += times
            total += value * times
            key = value if exact else three_digits(value)
            kept[key] = kept.get(key, 0) + times
        if count:
            values = [value for value in durations if value is not None]
            self._note(count, total, min(values), max(values))
        self._bound()

    def merge(self, other: Distribution) -> None:
        """Add another distribution to this one."""
        if self._exact and not other._exact:
            self._round()
        for value, times in other._kept.items():
            key = value if self._exact else three_digits(value)
            self._kept[key] = self._kept.get(key, 0) + times
        if other.min_us is not None:
            self._note(other.count, other.total_us, other.min_us, other.max_us)
        self._bound()

    def _note(self, count: int, total_us: int, min_us: int, max_us: int) -> None:
        self.count += count
        self.total_us += total_us
        self.min_us = min_us if self.min_us is None else min(self.min_us, min_us)
        self.max_us = max(self.max_us, max_us)

    def _bound(self) -> None:
        if self._exact and len(self._kept) > DISTINCT:
            self._round()

    def _round(self) -> None:
        exact, self._kept, self._exact = self._kept, {}, False
        for value, times in exact.items():
            key = three_digits(value)
            self._kept[key] = self._kept.get(key, 0) + times

    def quantiles(self, ranks: Sequence[float]) -> list[int | None]:
        """The nearest-rank quantiles for ascending `ranks` between 0 and 1; None where nothing was timed."""
        if self.min_us is None:
            return [None] * len(ranks)
        found: list[int | None] = []
        values = iter(sorted(self._kept.items()))
        value, seen = 0, 0
        for rank in ranks:
            while seen < max(1, ceil(rank * self.count - 1e-9)):
                value, times = next(values)
                seen += times
            found.append(min(max(value, self.min_us), self.max_us))
        return found
