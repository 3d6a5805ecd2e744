"""LineCounts: what became of the lines of a log; Period: the time that they cover."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SAMPLES = 5
"""How many rejected lines are kept to be shown."""
SAMPLE_BYTES = 1_000


@dataclass(slots=True)
class LineCounts:
    """Lines by what became of them: `lines` = `parsed` + rejected + `outside`. Counts add up in any order.

    `outside` are outside the time that was asked for. `excluded` were parsed, but are of a rule that was
    left out. `rejected` counts by reason; `samples` are the first rejected lines, each with its reason.
    `lost` tells, one line each, what could not be read.
    """

    lines: int = 0
    outside: int = 0
    excluded: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[str, bytes]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def parsed(self) -> int:
        """Lines that were understood and are inside the time asked for."""
        return self.lines - self.outside - self.rejected.total()

    @property
    def none_fit(self) -> bool:
        """Whether there were lines, and every one of them was rejected."""
        return bool(self.lines) and not self.parsed and not self.outside

    def reject(self, reason: str, line: bytes, count: int = 1) -> None:
        """Count lines as rejected; `line` is shown as a sample of them."""
        self.rejected[reason] += count
        if len(self.samples) < SAMPLES:
            self.samples.append((reason, line[:SAMPLE_BYTES]))

    def add(self, other: LineCounts) -> None:
        """Add the counts of other lines."""
        self.lines += other.lines
        self.outside += other.outside
        self.excluded += other.excluded
        self.rejected.update(other.rejected)
        self.samples += other.samples[: SAMPLES - len(self.samples)]
        self.lost += other.lost


@dataclass(slots=True)
class Period:
    """The time from the first request to the last, in unix seconds; None where no line has a time."""

    first_s: float | None = None
    last_s: float | None = None

    def extend(self, moments: Iterable[float]) -> None:
        """Stretch it over more moments, in unix seconds."""
        known = [moment for moment in (self.first_s, self.last_s) if moment is not None]
        seen = [*known, *moments]
        if seen:
            self.first_s, self.last_s = min(seen), max(seen)

    def add(self, other: Period) -> None:
        """Stretch it over another period."""
        self.extend(moment for moment in (other.first_s, other.last_s) if moment is not None)
