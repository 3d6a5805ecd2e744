"""Settle what the Router left undecided, by asking the app."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from logstatsd.model.batch import Batch, Durations, Pending, Series
from logstatsd.model.distribution import Distribution

if TYPE_CHECKING:
    from logstatsd.model.route import Route, Undecided


class Resolver(Protocol):
    """The loaded app, as far as settling needs it."""

    def resolve(self, undecided: Undecided) -> tuple[Route, bool]:
        """Ask the app about a request, and tell whether its answer is proven."""
        ...


@dataclass
class Settler:
    """Decides what the Router left undecided, by asking the app; without one, the rule is kept.

    `unproven` counts requests that kept a rule whose converter could not be asked, by rule.
    """

    app: Resolver | None = None
    unproven: dict[str, int] = field(default_factory=dict)

    def settle(self, batch: Batch) -> Batch:
        """Move what is pending in a Batch to the series that it belongs to."""
        for pending, durations in batch.pending.items():
            route, proven = self.route(pending.route)
            if not proven:
                self.note(route, sum(durations.values()))
            _merge(batch.timings, Series(route, *pending[1:]), durations)
            if cpu := batch.pending_cpu.get(pending):
                _merge(batch.cpu, Series(route, *pending[1:]), cpu)
        for (role, key), distribution in list(batch.bounded.items()):
            if isinstance(key, Pending):
                route, proven = self.route(key.route)
                if not proven and role == "duration":
                    self.note(route, distribution.count)
                del batch.bounded[role, key]
                known = batch.bounded.setdefault((role, Series(route, *key[1:])), Distribution())
                known.merge(distribution)
        batch.pending, batch.pending_cpu = {}, {}
        return batch

    def route(self, undecided: Undecided) -> tuple[Route, bool]:
        """Ask the app about a request, and tell whether its answer is proven."""
        return self.app.resolve(undecided) if self.app else (undecided.fallback, False)

    def note(self, route: Route, requests: int = 1) -> None:
        """Count requests that keep a rule which nobody could prove."""
        self.unproven[route.rule] = self.unproven.get(route.rule, 0) + requests


def _merge(into: dict[Series, Durations], series: Series, durations: Durations) -> None:
    known = into.setdefault(series, {})
    for duration_us, count in durations.items():
        known[duration_us] = known.get(duration_us, 0) + count
