"""Merge Batches into a Summary: requests by group, each with a distribution of durations of stated error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from logstatsd.model.batch import Batch, Series
from logstatsd.model.distribution import Distribution
from logstatsd.model.filters import Excluded
from logstatsd.model.line_counts import LineCounts, Period
from logstatsd.model.route import Route

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True)
class Group:
    """The requests of one row of a report."""

    requests: int = 0
    errors_4xx: int = 0
    errors_5xx: int = 0
    wall: Distribution = field(default_factory=Distribution)
    cpu: Distribution = field(default_factory=Distribution)

    def count(self, status: int, requests: int) -> None:
        """Count requests that ended with a status."""
        self.requests += requests
        self.errors_4xx += requests if 400 <= status < 500 else 0
        self.errors_5xx += requests if 500 <= status < 600 else 0


DIMENSIONS: dict[str, Callable[[Series], str | int]] = {
    "rule": lambda series: series.route.rule,
    "endpoint": lambda series: series.route.endpoint or series.route.rule,
    "method": lambda series: series.method,
    "status": lambda series: series.status,
}
"""What a report can be grouped by, and how a series' value is found."""


Key = tuple[Route, tuple[str | int, ...]]


@dataclass
class Summary:
    """A log's Batches, merged: groups by the dimensions asked for, and what became of every line."""

    by: tuple[str, ...] = ("rule", "method")
    excluded_routes: Excluded = field(default_factory=Excluded)
    groups: dict[Key, Group] = field(default_factory=dict)
    counts: LineCounts = field(default_factory=LineCounts)
    period: Period = field(default_factory=Period)
    skipped_bytes: int = 0

    def add(self, batch: Batch) -> None:
        """Merge a Batch whose series have all been decided."""
        self.counts.add(batch.counts)
        self.period.add(batch.period)
        self.counts.excluded += self.excluded_routes.take_out(batch)
        for series, durations in batch.timings.items():
            group = self._group(series)
            group.wall.add(durations)
            group.count(series.status, sum(durations.values()))
        for series, durations in batch.cpu.items():
            self._group(series).cpu.add(durations)
        for (role, key), distribution in batch.bounded.items():
            if isinstance(key, Series):
                group = self._group(key)
                if role == "cpu":
                    group.cpu.merge(distribution)
                else:
                    group.wall.merge(distribution)
                    group.count(key.status, distribution.count)

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

    @property
    def timed(self) -> int:
        return sum(group.wall.count for group in self.groups.values())

    @property
    def total_us(self) -> int:
        return sum(group.wall.total_us for group in self.groups.values())
