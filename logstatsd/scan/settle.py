"""Settle what the Router left undecided, by asking the app."""

from __future__ import annotations

from dataclasses import dataclass, field
from sys import getsizeof
from typing import TYPE_CHECKING, Protocol

from logstatsd.model.batch import Batch, Durations, Pending, Series
from logstatsd.model.distribution import Distribution
from logstatsd.model.route import Route, Undecided

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


ANSWERS_BYTES = 16 << 20
"""About how much of what the app has said is remembered; above, everything is forgotten."""
ENTRY_BYTES = 400
"""What one answer takes beside the texts of its question."""

Answer = tuple[Route, bool]


class Resolver(Protocol):
    """The loaded app, as far as settling needs it."""

    def resolve_all(self, questions: Sequence[Undecided]) -> list[Answer]:
        """Ask the app about each request, and tell whether its answer is proven."""
        ...


@dataclass
class Settler:
    """Decides what the Router left undecided, by asking the app; without one, the rule is kept.

    A question is asked once, as far as ANSWERS_BYTES hold. `unproven` counts requests that kept a rule whose
    converter could not be asked, by rule.
    """

    app: Resolver | None = None
    unproven: dict[str, int] = field(default_factory=dict)
    _known: dict[Undecided, Answer] = field(default_factory=dict, repr=False)
    _known_bytes: int = 0

    def settle(self, batch: Batch) -> Batch:
        """Move what is pending in a Batch to the series that it belongs to."""
        answers = self.routes(pending.route for pending in batch.pending)
        for pending, durations in batch.pending.items():
            route, proven = answers[pending.route]
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

    def route(self, undecided: Undecided) -> Answer:
        """Ask the app about a request, and tell whether its answer is proven."""
        return self._known.get(undecided) or self.routes([undecided])[undecided]

    def routes(self, questions: Iterable[Undecided]) -> dict[Undecided, Answer]:
        """Ask the app about several requests: together, that is much faster."""
        answers = {question: self._known.get(question) for question in questions}
        new = [question for question, answer in answers.items() if answer is None]
        found = self.app.resolve_all(new) if self.app else [(question.fallback, False) for question in new]
        asked = dict(zip(new, found, strict=True))
        if self.app:
            for question, answer in asked.items():
                self._remember(question, answer)
        return {question: answer or asked[question] for question, answer in answers.items()}

    def note(self, route: Route, requests: int = 1) -> None:
        """Count requests that keep a rule which nobody could prove."""
        self.unproven[route.rule] = self.unproven.get(route.rule, 0) + requests

    def _remember(self, question: Undecided, answer: Answer) -> None:
        self._known_bytes += ENTRY_BYTES + getsizeof(question.path) + getsizeof(question.domain)
        if self._known_bytes > ANSWERS_BYTES:
            self._known.clear()
            self._known_bytes = 0
        self._known[question] = answer


def _merge(into: dict[Series, Durations], series: Series, durations: Durations) -> None:
    known = into.setdefault(series, {})
    for duration_us, count in durations.items():
        known[duration_us] = known.get(duration_us, 0) + count
