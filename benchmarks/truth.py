"""What a tool told about a log, held against the truth file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

EXACT_DISTINCT = 4096  # beyond as many distinct durations, half a percent is right
TOLERANCE = 0.005


@dataclass
class Row:
    """A rule's and method's requests and, where the tool gives them, p50, p95 and p99 in microseconds."""

    count: int
    percentiles: tuple[float, float, float] | None = None


@dataclass
class Told:
    """What a tool told: how many lines it could read, and its rows by rule and method."""

    parsed: int = 0
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)

    def add(
        self, rule: str, method: str, count: int, percentiles: tuple[float, float, float] | None = None
    ) -> None:
        """Add a row to it; rows of the same rule and method have their counts added, and no percentiles."""
        key = rule, method
        self.parsed += count
        self.rows[key] = Row(self.rows[key].count + count) if key in self.rows else Row(count, percentiles)


@dataclass
class Verdict:
    """In words: `right`, what is wrong, or `-` where the tool does not tell."""

    lines: str
    counts: str
    percentiles: str


def load(log: Path) -> dict[str, Any]:
    """Read the truth file of a log."""
    truth: dict[str, Any] = json.loads(log.with_name(log.name + ".truth.json").read_text(encoding="utf-8"))
    return truth


def judge(told: Told, truth: dict[str, Any], labels: bool = False) -> Verdict:
    """Judge what a tool told; the labels of what no rule matched are asked of ours alone."""
    parsed = truth["lines"] - truth["junk"]
    lines = "right" if told.parsed == parsed else f"{told.parsed - parsed:+,}"
    if told.parsed == truth["lines"]:
        lines = "junk counted too"
    wanted = [row for row in truth["rows"] if labels or not row["rule"].startswith("(")]
    wrong = [
        row for row in wanted if told.rows.get((row["rule"], row["method"]), Row(0)).count != row["count"]
    ]
    counts = "right" if not wrong else f"{len(wrong)} of {len(wanted)} rows wrong"
    return Verdict(lines, counts if told.rows else "-", judge_percentiles(told, wanted))


def judge_percentiles(told: Told, wanted: list[dict[str, Any]]) -> str:
    """Judge the percentiles of the rows whose count is right: right, or how far off the worst is."""
    errors = []
    for row in wanted:
        mine = told.rows.get((row["rule"], row["method"]))
        if mine is None or mine.percentiles is None or mine.count != row["count"]:
            continue
        for value, name in zip(mine.percentiles, ("p50_us", "p95_us", "p99_us"), strict=True):
            allowed = TOLERANCE if row["distinct"] > EXACT_DISTINCT else 0
            error = abs(value - row[name]) / max(row[name], 1)
            errors.append(0.0 if error <= allowed else error)
    if not errors:
        return "-"
    wrong = sum(error > 0 for error in errors)
    return f"{wrong} of {len(errors)} wrong, by up to {max(errors):.1%}" if wrong else "right"
