"""RENDERERS: a Summary as a table for a person, or as JSON, CSV or Markdown for a program."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from logstatsd.model.route import FIXED
from logstatsd.report.columns import Title
from logstatsd.report.summary import DIMENSIONS, Group, Summary
from logstatsd.text import clean, iso_utc

if TYPE_CHECKING:
    from collections.abc import Callable

    from logstatsd.model.distribution import Distribution

ReportRow = dict[str, Any]

SCHEMA = 1
NONE = "-"
LONGEST_NAME = 1_000
QUANTILES = {"p50_us": 0.50, "p95_us": 0.95, "p99_us": 0.99}


def human(duration_us: float | None) -> str:
    """A duration as a person reads it, to three digits: `850 µs`, `42.1 ms`, `1.37 s`, `2 m 05 s`."""
    if duration_us is None:
        return NONE
    if duration_us < 999.5:
        return f"{duration_us:.0f} µs"
    if duration_us < 99_950_000:
        value, unit = (duration_us / 1_000, "ms") if duration_us < 999_500 else (duration_us / 1_000_000, "s")
        return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"
    minutes, seconds = divmod(round(duration_us / 1_000_000), 60)
    return f"{minutes} m {seconds:02d} s"


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else NONE


def _count(number: int) -> str:
    return f"{number:,}"


class Column(NamedTuple):
    """A column of the table: `drop` is its turn to go when the terminal is narrow, 0 never."""

    title: str
    cell: Callable[[ReportRow, ReportRow], str]
    sort_key: Callable[[ReportRow], Any]
    drop: int = 0
    timed: bool = False


def _duration(name: str, title: str, drop: int = 0) -> Column:
    return Column(title, lambda row, _: human(row[name]), lambda row: row[name] or 0, drop, timed=True)


COLUMNS: dict[str, Column] = {
    "requests": Column("requests", lambda row, _: _count(row["requests"]), lambda row: row["requests"]),
    "share": Column(
        "share", lambda row, all_: _share(row["requests"], all_["requests"]), lambda row: row["requests"], 2
    ),
    "4xx": Column("4xx", lambda row, _: _count(row["errors_4xx"]), lambda row: row["errors_4xx"], 5),
    "5xx": Column("5xx", lambda row, _: _count(row["errors_5xx"]), lambda row: row["errors_5xx"], 6),
    "mean": _duration("mean_us", "mean", 1),
    "p50": _duration("p50_us", "p50", 4),
    "p95": _duration("p95_us", "p95"),
    "p99": _duration("p99_us", "p99", 7),
    "max": _duration("max_us", "max", 3),
    "total": Column(
        "of time",
        lambda row, all_: _share(row["total_us"], all_["total_us"]),
        lambda row: row["total_us"],
        8,
        True,
    ),
    "cpu": Column(
        "cpu mean", lambda row, _: human(row.get("cpu_mean_us")), lambda row: row.get("cpu_mean_us", 0), 9
    ),
}
SORTS: dict[str, Callable[[ReportRow], Any]] = {
    **{name: column.sort_key for name, column in COLUMNS.items()},
    "errors": lambda row: row["errors_4xx"] + row["errors_5xx"],
    **{name: (lambda row, name=name: str(row.get(name) or "")) for name in DIMENSIONS},  # type: ignore[misc]
}


def rows(summary: Summary, sort: str = "total") -> list[ReportRow]:
    """One dictionary a group, named as in the JSON report, sorted; by requests if nothing was timed."""
    found = []
    for (route, values), group in summary.groups.items():
        row: ReportRow = {}
        if "rule" in summary.by:
            row["rule"] = route.rule
        if {"rule", "endpoint"} & set(summary.by):
            row["endpoint"] = route.endpoint
        row["outcome"] = route.outcome
        row.update((name, value) for name, value in zip(summary.by, values, strict=True) if name not in row)
        found.append({**row, **_numbers(group)})
    found.sort(key=lambda row: tuple(str(row.get(name) or "") for name in (*DIMENSIONS, "outcome")))
    if sort in COLUMNS and COLUMNS[sort].timed and not summary.timed:
        sort = "requests"
    found.sort(key=SORTS[sort], reverse=sort not in DIMENSIONS)
    return found


def _numbers(group: Group) -> ReportRow:
    wall, cpu = group.wall, group.cpu
    numbers: ReportRow = {
        "requests": group.requests,
        "errors_4xx": group.errors_4xx,
        "errors_5xx": group.errors_5xx,
        "timed": wall.count,
        "total_us": wall.total_us,
        "mean_us": _mean(wall),
        "min_us": wall.min_us,
        "max_us": wall.max_us if wall.count else None,
        **dict(zip(QUANTILES, wall.quantiles(list(QUANTILES.values())), strict=True)),
    }
    if cpu.count:
        numbers |= {"cpu_timed": cpu.count, "cpu_total_us": cpu.total_us, "cpu_mean_us": _mean(cpu)}
    return numbers


def _mean(distribution: Distribution) -> float | None:
    return round(distribution.total_us / distribution.count, 3) if distribution.count else None


def as_json(summary: Summary, sort: str) -> str:
    """The report as one JSON object; its names are stable, see the README."""
    return json.dumps(
        {
            "schema": SCHEMA,
            "lines": summary.counts.lines,
            "parsed": summary.counts.parsed,
            "rejected": summary.counts.rejected.total(),
            "outside": summary.counts.outside,
            "excluded": summary.counts.excluded,
            "skipped_bytes": summary.skipped_bytes,
            "from": iso_utc(summary.period.first_s),
            "to": iso_utc(summary.period.last_s),
            "rows": rows(summary, sort),
            "rejections": dict(sorted(summary.counts.rejected.items())),
            "lost": summary.counts.lost,
        },
        indent=2,
        ensure_ascii=False,
    )


def as_csv(summary: Summary, sort: str) -> str:
    """The rows as comma-separated values under a header line."""
    found = rows(summary, sort)
    names = list(dict.fromkeys(name for row in found for name in row)) or [*summary.by, "outcome", "requests"]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue().rstrip("\n")


def table_rows(summary: Summary, sort: str) -> list[ReportRow]:
    """The rows a person sees: the matched ones, then one line for each outcome without a rule."""
    found = [row for row in rows(summary, sort) if row["outcome"] == "matched"]
    for fixed in FIXED:
        merged = Group()
        for (route, _), group in summary.groups.items():
            if route.outcome == fixed.outcome:
                _merge(merged, group)
        if merged.requests:
            shown = dict.fromkeys(summary.by, "") | {summary.by[0]: fixed.rule, "outcome": fixed.outcome}
            found.append({**shown, **_numbers(merged)})
    return found


def _merge(into: Group, group: Group) -> None:
    into.requests += group.requests
    into.errors_4xx += group.errors_4xx
    into.errors_5xx += group.errors_5xx
    into.wall.merge(group.wall)
    into.cpu.merge(group.cpu)


def _cells(summary: Summary, sort: str) -> tuple[list[Title], list[list[str]]]:
    """Titles, and the lines of the table as text."""
    found = table_rows(summary, sort)
    whole = {name: sum(row[name] for row in found) for name in ("requests", "total_us")}
    columns = [
        column
        for name, column in COLUMNS.items()
        if (summary.timed or not column.timed) and (name != "cpu" or any("cpu_timed" in row for row in found))
    ]
    titles = [Title(name, is_name=True) for name in summary.by]
    titles += [Title(column.title, column.drop) for column in columns]
    lines = [
        [clean(str(row[name] or ""), LONGEST_NAME) for name in summary.by]
        + [column.cell(row, whole) for column in columns]
        for row in found
    ]
    return titles, lines


def as_markdown(summary: Summary, sort: str) -> str:
    """The table as Markdown."""
    titles, lines = _cells(summary, sort)
    named = len(summary.by)
    ruler = [":--" if title.is_name else "--:" for title in titles]
    quoted = [[*map(_code, line[:named]), *line[named:]] for line in lines]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"
        for line in [[title.text for title in titles], ruler, *quoted]
    )


def _code(name: str) -> str:
    """A rule as code, since `<int:id>` would be taken for HTML."""
    if not name:
        return ""
    return f"`` {name} ``" if "`" in name else f"`{name}`"


def as_table(summary: Summary, sort: str) -> Any:
    """The table as a rich renderable that fits the terminal."""
    from logstatsd.report.tables import fitted  # noqa: PLC0415 - brings rich

    titles, lines = _cells(summary, sort)
    matched = sum(row["outcome"] == "matched" for row in table_rows(summary, sort))
    return fitted(titles, lines, faint=lambda number: number >= matched, section_after=matched - 1)


def caption(summary: Summary) -> str:
    """How much was counted, over what time."""
    parts = [f"{summary.counts.parsed:,} requests"]
    if summary.period.first_s is not None and summary.period.last_s is not None:
        first, last = (
            datetime.fromtimestamp(moment, UTC) for moment in (summary.period.first_s, summary.period.last_s)
        )
        parts[0] += f" from {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC"
    if summary.counts.excluded:
        parts.append(f"{summary.counts.excluded:,} excluded")
    if summary.counts.outside:
        parts.append(f"{summary.counts.outside:,} outside the time asked for")
    return ", ".join(parts)


class Renderer(NamedTuple):
    """One way to draw a Summary, sorted by one of SORTS: as text, or as a rich renderable."""

    about: str
    render: Callable[[Summary, str], Any]
    suffixes: tuple[str, ...] = ()
    """Endings of the files that are written so."""


RENDERERS: dict[str, Renderer] = {
    "table": Renderer("A table.", as_table),
    "json": Renderer("One JSON object, with stable names.", as_json, (".json",)),
    "csv": Renderer("Comma-separated values.", as_csv, (".csv",)),
    "markdown": Renderer("A Markdown table.", as_markdown, (".md", ".markdown")),
}
