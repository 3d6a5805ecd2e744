"""Batch, the tally of a stretch of log, and the series that it counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from logstatsd.model.line_counts import LineCounts, Period
from logstatsd.model.route import Route, Undecided

Durations = dict[int | None, int]
"""A multiset of durations in microseconds; None is for requests that were logged without one."""


class Series(NamedTuple):
    """What requests are counted under. `at_s` is the bucket of time in unix seconds, if there are any."""

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
    """The tally of a stretch of log. Batches add up in any order."""

    counts: LineCounts = field(default_factory=LineCounts)
    period: Period = field(default_factory=Period)
    timings: dict[Series, Durations] = field(default_factory=dict)
    cpu: dict[Series, Durations] = field(default_factory=dict)
    pending: dict[Pending, Durations] = field(default_factory=dict)
    pending_cpu: dict[Pending, Durations] = field(default_factory=dict)

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
        known = into.setdefault(key, {})
        for value, count in durations.items():
            known[value] = known.get(value, 0) + count


class Window(NamedTuple):
    """The stretch of time that counts, in unix seconds: from `since_s` on and before `until_s`."""

    since_s: float = float("-inf")
    until_s: float = float("inf")
