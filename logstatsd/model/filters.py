"""Excluded: the rules and endpoints that a user leaves out of a log."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from logstatsd.model.route import Route

if TYPE_CHECKING:
    from collections.abc import Iterable

    from logstatsd.model.batch import Batch


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

    def unknown(self, routes: Iterable[Route]) -> list[str]:
        """The patterns that fit none of these routes."""
        names = {name for route in routes for name in (route.rule, route.endpoint, route.outcome) if name}
        return [
            pattern
            for pattern in self._patterns
            if not any(name == pattern or fnmatchcase(name, pattern) for name in names)
        ]

    def take_out(self, batch: Batch) -> int:
        """Take the excluded series out of a Batch; returns how many requests that were."""
        taken = [series for series in batch.timings if series.route in self]
        for series in taken:
            batch.cpu.pop(series, None)
        requests = sum(sum(batch.timings.pop(series).values()) for series in taken)
        for key in [key for key in batch.bounded if isinstance(key[1].route, Route) and key[1].route in self]:
            distribution = batch.bounded.pop(key)
            requests += distribution.count if key[0] == "duration" else 0
        return requests
