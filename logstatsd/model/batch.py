"""Batch, the tally of a stretch of log, and the series that it counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from logstatsd.model.distribution import Distribution
from logstatsd.model.line_counts import LineCounts, Period
from logstatsd.model.route import Route, Undecided

Durations = dict[int | None, int]
"""A multiset of durations in microseconds; None is for requests that were logged without one."""


class Series(NamedTuple):
    """The label for counting requests. `at_s` is the bucket of time in unix seconds, if there are any."""

    route: Route
    method: str
    status: int
    at_s: int | None = None


class Pending(NamedTuple):
    """A Series whose route only the app can tell."""

    route: Undecided
    method: str
    status: int
    at_s: int | None = None


@dataclass(slots=True)
class Batch:
    """The tally of a stretch of log. Batches add up in any order.

    A Batch for a report may have series with too many different durations to keep: of these, `bounded` has a
    Distribution by role and series, and what else it has of such a series adds to it.
    """

    counts: LineCounts = field(default_factory=LineCounts)
    period: Period = field(default_factory=Period)
    timings: dict[Series, Durations] = field(default_factory=dict)
    cpu: dict[Series, Durations] = field(default_factory=dict)
    pending: dict[Pending, Durations] = field(default_factory=dict)
    pending_cpu: dict[Pending, Durations] = field(default_factory=dict)
    bounded: dict[tuple[str, Series | Pending], Distribution] = field(default_factory=dict)

    def put(
        self,
        route: Route | Undecided,
        method: str,
        status: int,
        at_s: int | None,
        *,
        role: str,
        durations: Durations,
    ) -> None:
        """Add what was measured in one role: `duration` or `cpu`."""
        into: Any
        if isinstance(route, Route):
            key: Series | Pending = Series(route, method, status, at_s)
            into = self.timings if role == "duration" else self.cpu
        else:
            key = Pending(route, method, status, at_s)
            into = self.pending if role == "duration" else self.pending_cpu
        _merge(into, {key: durations})

    def put_bounded(
        self,
        route: Route | Undecided,
        method: str,
        status: int,
        at_s: int | None,
        *,
        role: str,
        values: Distribution,
    ) -> None:
        """As `put`, for what is too much to keep exactly."""
        series: Series | Pending
        if isinstance(route, Route):
            series = Series(route, method, status, at_s)
        else:
            series = Pending(route, method, status, at_s)
        self.bounded.setdefault((role, series), Distribution()).merge(values)

    def add(self, other: Batch) -> None:
        """Add another batch to this one, in any order."""
        self.counts.add(other.counts)
        self.period.add(other.period)
        _merge(self.timings, other.timings)
        _merge(self.cpu, other.cpu)
        _merge(self.pending, other.pending)
        _merge(self.pending_cpu, other.pending_cpu)
        for key, values in other.bounded.items():
            self.bounded.setdefault(key, Distribution()).merge(values)


def _merge(into: dict[Any, Durations], durations: dict[Any, Durations]) -> None:
    for key, values in durations.items():
        known = into.setdefault(key, {})
        for value, count in values.items():
            known[value] = known.get(value, 0) + count


class Window(NamedTuple):
    """The stretch of time that counts, in unix seconds: from `since_s` on and before `until_s`."""

    since_s: float = float("-inf")
    until_s: float = float("inf")

    def includes(self, moment_s: float | None) -> bool:
        """Whether a moment is inside; one that is not known counts."""
        return moment_s is None or self.since_s <= moment_s < self.until_s
