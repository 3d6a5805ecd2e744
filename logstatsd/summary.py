"""What a report says: requests by group, each with a mergeable distribution of durations of stated error."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import ceil
from typing import TYPE_CHECKING

from logstatsd.labels import Route
from logstatsd.scan import SAMPLES, Batch, Durations, Series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

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


@dataclass(slots=True)
class Group:
    """The requests of one row of a report."""

    requests: int = 0
    errors_4xx: int = 0
    errors_5xx: int = 0
    wall: Distribution = field(default_factory=Distribution)
    cpu: Distribution = field(default_factory=Distribution)


DIMENSIONS: dict[str, Callable[[Series], str | int]] = {
    "rule": lambda series: series.route.rule,
    "endpoint": lambda series: series.route.endpoint or series.route.rule,
    "method": lambda series: series.method,
    "status": lambda series: series.status,
}
"""What a report can be grouped by, and how a series' value is found."""


class Excluded:
    """The rules and endpoints that a user left out, by name or by a pattern such as `static*`."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._patterns = tuple(patterns)
        self._known: dict[Route, bool] = {}

    def __contains__(self, route: Route) -> bool:
        if not self._patterns:
            return False
        if route not in self._known:
            names = [name for name in (route.rule, route.endpoint, route.outcome) if name]
            self._known[route] = any(
                name == pattern or fnmatchcase(name, pattern) for name in names for pattern in self._patterns
            )
        return self._known[route]

    def take_out(self, batch: Batch) -> int:
        """Take the excluded series out of a Batch; returns how many requests that were."""
        taken = [series for series in batch.timings if series.route in self]
        for series in taken:
            batch.cpu.pop(series, None)
        return sum(sum(batch.timings.pop(series).values()) for series in taken)


Key = tuple[Route, tuple[str | int, ...]]


@dataclass
class Summary:
    """A log's Batches, merged: groups by the dimensions asked for, and what became of every line."""

    by: tuple[str, ...] = ("rule", "method")
    excluded_routes: Excluded = field(default_factory=Excluded)
    groups: dict[Key, Group] = field(default_factory=dict)
    lines: int = 0
    parsed: int = 0
    outside: int = 0
    excluded: int = 0
    skipped_bytes: int = 0
    rejections: Counter[str] = field(default_factory=Counter)
    span: Batch = field(default_factory=Batch)

    def add(self, batch: Batch) -> None:
        """Merge a Batch whose series have all been decided."""
        self.lines += batch.lines
        self.parsed += batch.parsed
        self.outside += batch.outside
        self.rejections.update(batch.rejected)
        self.span.samples += batch.samples[: SAMPLES - len(self.span.samples)]
        self.span.saw(moment for moment in (batch.first_s, batch.last_s) if moment is not None)
        self.excluded += self.excluded_routes.take_out(batch)
        for series, durations in batch.timings.items():
            self._count(self._group(series), series.status, durations)
        for series, durations in batch.cpu.items():
            self._group(series).cpu.add(durations)

    def _group(self, series: Series) -> Group:
        route = series.route
        if "rule" not in self.by:
            endpoint = route.endpoint if "endpoint" in self.by else None
            route = Route("", endpoint, route.outcome)
        key = (route, tuple(DIMENSIONS[name](series) for name in self.by))
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group()
        return group

    @staticmethod
    def _count(group: Group, status: int, durations: Durations) -> None:
        requests = sum(durations.values())
        group.requests += requests
        group.errors_4xx += requests if 400 <= status < 500 else 0
        group.errors_5xx += requests if 500 <= status < 600 else 0
        group.wall.add(durations)

    @property
    def timed(self) -> int:
        return sum(group.wall.count for group in self.groups.values())

    @property
    def total_us(self) -> int:
        return sum(group.wall.total_us for group in self.groups.values())
