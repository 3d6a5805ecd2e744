"""Tell where labels are likely to be wrong: a nearly empty map, a log that hardly matches."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from logstatsd.cli.console import say
from logstatsd.model.route import Route
from logstatsd.routing.diagnose import Requests, explain_few_rules, explain_unmatched
from logstatsd.scan.entries import StretchReader
from logstatsd.scan.logs import HEAD
from logstatsd.sources import source as sources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logstatsd.cli.options import AppOptions
    from logstatsd.model.batch import Batch
    from logstatsd.routing.router import Router
    from logstatsd.scan.run import Run

TARGETS = 200
"""How many targets that no rule matched are looked at for the likeliest cause."""


class Outcomes:
    """How many requests had which outcome, and how many of those were answered with an error."""

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()

    def add(self, batch: Batch) -> None:
        """Count the requests of a Batch in which every route is decided."""
        for series, durations in batch.timings.items():
            requests = sum(durations.values())
            self._requests[series.route.outcome] += requests
            self._errors[series.route.outcome] += requests if series.status >= 400 else 0

    def tell(self, router: Router, app: AppOptions, run: Run | None = None) -> None:
        """Say, in one line, what is likely wrong with the app or the log, if anything is.

        With the run, its logs are looked into for the likeliest cause.
        """
        counts = {
            outcome: Requests(requests, self._errors[outcome]) for outcome, requests in self._requests.items()
        }
        snapshot = bool(app.routes)
        if explain_unmatched(counts, router, from_snapshot=snapshot) is None:
            if few := explain_few_rules(router):
                say(few)
            return
        has_host = run is None or all("host" in log_format.chosen for log_format in run.changes.formats)
        targets = list(_unmatched_targets(run, router)) if run else []
        said = explain_unmatched(counts, router, targets=targets, has_host=has_host, from_snapshot=snapshot)
        if said:
            say(said)


def _unmatched_targets(run: Run, router: Router) -> Iterator[bytes]:
    """Some targets at the heads of the logs that no rule matches; streams cannot be read again."""
    found = 0
    for log in run.logs:
        if log.source.stream is not None or log.is_empty:
            continue
        reader = StretchReader(log.choice, router)
        for entry, _ in reader.entries(sources.head(log.source, HEAD)):
            if isinstance(entry.route, Route) and entry.route.outcome in {"unmatched", "not_the_app"}:
                yield entry.target
                found += 1
                if found == TARGETS:
                    return
