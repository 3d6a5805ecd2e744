"""Batches as a scan of a log gives them, made up."""

from __future__ import annotations

import random
from collections import Counter

from logstatsd.model.batch import Batch, Series
from logstatsd.model.line_counts import Period
from logstatsd.model.route import Route

USERS = Route("/users/<int:id>", "users.get", "matched")


def series(route: Route = USERS, method: str = "GET", status: int = 200, at_s: int | None = None) -> Series:
    """One series; by default the one that most tests speak of."""
    return Series(route, method, status, at_s)


def batch(*durations_us: int | None, **label: object) -> Batch:
    """One series' durations."""
    return Batch(timings={series(**label): dict(Counter(durations_us))}, period=Period(label.get("at_s")))


def busy_batch(values: int, seed: int = 1, routes: int = 60, least_ms: int = 0) -> Batch:
    """Many values over many routes, as a busy log has them: milliseconds, most of them short."""
    chance = random.Random(seed)
    labels = [
        series(Route(f"/blueprint/{number}/<int:id>", f"blueprint.view_{number}", "matched"))
        for number in range(routes)
    ]
    made: dict[Series, Counter[int | None]] = {label: Counter() for label in labels}
    for _ in range(values):
        made[chance.choice(labels)][1000 * (least_ms + int(chance.expovariate(1 / 40)))] += 1
    return Batch(timings={label: dict(durations) for label, durations in made.items() if durations})
