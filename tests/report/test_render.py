"""A report as a person and as a program sees it; `tests/golden` has what it looks like."""

from __future__ import annotations

import csv
import io
import itertools
import json
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import sample
from batches import USERS, series
from places import SAMPLE_LOGS
from rich.cells import cell_len

from logstatsd.cli.console import show
from logstatsd.model.batch import Batch, Durations
from logstatsd.model.filters import Excluded
from logstatsd.model.line_counts import LineCounts, Period
from logstatsd.model.route import UNMATCHED, Route
from logstatsd.report.render import COLUMNS, RENDERERS, SORTS, caption, human, rows, table_rows
from logstatsd.report.summary import DIMENSIONS, Summary
from logstatsd.scan.logs import open_logs
from logstatsd.scan.run import Run
from logstatsd.scan.settle import Settler

if TYPE_CHECKING:
    from pathlib import Path


@cache
def summary_of(log: str, by: tuple[str, ...] = ("rule", "method")) -> Summary:
    summary, settler = Summary(by), Settler(sample.loaded())
    for piece in Run(open_logs([str(SAMPLE_LOGS / log)]), sample.router()).pieces():
        summary.add(settler.settle(piece.batch))
    return summary


def made(timings: dict[Any, Durations], by: tuple[str, ...] = ("rule", "method")) -> Summary:
    summary = Summary(by)
    summary.add(Batch(LineCounts(sum(map(sum, map(dict.values, timings.values())))), timings=timings))
    return summary


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Render a report as a pipe gets it."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def render(summary: Summary, renderer: str = "table", columns: int = 200, sort: str = "total") -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        show(RENDERERS[renderer].render(summary, sort), None)
        return capsys.readouterr().out

    return render


# --- as it looks ------------------------------------------------------------------------------------------


def test_what_fits_no_terminal_is_folded_and_all_there(shown: Any) -> None:
    text = shown(summary_of("nginx.log"), columns=34)
    rules = {row["rule"] for row in table_rows(summary_of("nginx.log"), "total")}
    first = "".join(line[:8].strip() for line in text.splitlines())
    assert all("".join(rule.split()) in "".join(first.split()) for rule in rules)


def test_columns_go_in_their_turn(shown: Any) -> None:
    seen = [
        shown(summary_of("nginx.log"), columns=columns).splitlines()[0].split()
        for columns in range(60, 161, 4)
    ]
    assert seen[0] == ["rule", "method", "requests", "p95"]
    assert seen[-1][2:] == [word for name in COLUMNS if name != "cpu" for word in COLUMNS[name].title.split()]
    for narrow, wide in itertools.pairwise(seen):
        assert set(narrow) <= set(wide)


@pytest.mark.parametrize(
    ("duration_us", "text"),
    [
        (None, "-"), (0, "0 µs"), (0.4, "0 µs"), (1, "1 µs"), (850, "850 µs"), (999.4, "999 µs"),
        (999.6, "1.00 ms"), (1_000, "1.00 ms"), (9_994, "9.99 ms"), (9_996, "10.0 ms"), (42_100, "42.1 ms"),
        (99_960, "100 ms"), (999_400, "999 ms"), (999_600, "1.00 s"), (1_370_000, "1.37 s"),
        (59_960_000, "60.0 s"), (99_940_000, "99.9 s"), (99_960_000, "1 m 40 s"), (125_000_000, "2 m 05 s"),
        (10_800_000_000, "180 m 00 s"),
    ],
)  # fmt: skip
def test_durations_have_three_digits_and_a_unit(duration_us: float | None, text: str) -> None:
    assert human(duration_us) == text


# --- order ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", SORTS)
def test_rows_are_sorted_by_any_column(sort: str, shown: Any) -> None:
    found = rows(summary_of("nginx.log", ("rule", "method", "status")), sort)
    keys = [SORTS[sort](row) for row in found]
    assert keys == sorted(keys, reverse=sort not in DIMENSIONS)
    assert len(found) == len(rows(summary_of("nginx.log", ("rule", "method", "status")), "total"))


def test_rows_that_are_equal_are_in_the_order_of_their_names() -> None:
    routes = [Route(f"/{name}", name, "matched") for name in "cab"]
    found = rows(made({series(route): {1_000: 1} for route in routes}), "p95")
    assert [row["rule"] for row in found] == ["/a", "/b", "/c"]


def test_without_durations_the_busiest_come_first() -> None:
    found = [row["requests"] for row in rows(summary_of("gunicorn_default.log"), "total")]
    assert found == sorted(found, reverse=True)


def test_requests_without_a_rule_come_last_one_line_each() -> None:
    found = table_rows(summary_of("nginx.log"), "requests")
    assert [row["rule"] for row in found[-4:]] == [
        "(unmatched)", "(method not allowed)", "(redirect)", "(not the app)",
    ]  # fmt: skip
    assert all(row["outcome"] == "matched" for row in found[:-4])


@pytest.mark.parametrize("by", [("rule",), ("endpoint",), ("method",), ("status",), tuple(DIMENSIONS)])
def test_every_request_is_in_the_table_once(by: tuple[str, ...]) -> None:
    summary = summary_of("nginx.log", by)
    assert sum(row["requests"] for row in table_rows(summary, "total")) == summary.counts.parsed


# --- for programs -----------------------------------------------------------------------------------------

FIGURES = [
    "requests", "errors_4xx", "errors_5xx", "timed", "total_us", "mean_us", "min_us", "max_us",
    "p50_us", "p95_us", "p99_us",
]  # fmt: skip


def test_the_names_in_json_are_those_that_are_promised() -> None:
    found = json.loads(RENDERERS["json"].render(summary_of("nginx.log"), "total"))
    assert list(found) == [
        "schema", "lines", "parsed", "rejected", "outside", "excluded", "skipped_bytes", "from", "to",
        "rows", "rejections",
    ]  # fmt: skip
    assert found["schema"] == 1
    assert found["lines"] == found["parsed"] + found["rejected"] + found["outside"]
    assert found["from"].endswith("+00:00")
    assert all(list(row) == ["rule", "endpoint", "outcome", "method", *FIGURES] for row in found["rows"])
    assert sum(row["requests"] for row in found["rows"]) == found["parsed"]


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        (("endpoint",), ["endpoint", "outcome"]),
        (("method",), ["outcome", "method"]),
        (("status", "rule"), ["rule", "endpoint", "outcome", "status"]),
    ],
)
def test_a_row_in_json_has_the_keys_it_is_grouped_by(by: tuple[str, ...], keys: list[str]) -> None:
    for row in json.loads(RENDERERS["json"].render(summary_of("nginx.log", by), "total"))["rows"]:
        assert list(row) == [*keys, *FIGURES]
        assert "endpoint" not in keys or (row["endpoint"] is None) == (row["outcome"] != "matched")


def test_where_nothing_was_timed_figures_are_null() -> None:
    (row,) = json.loads(RENDERERS["json"].render(made({series(): {None: 3}}), "total"))["rows"]
    assert (row["requests"], row["timed"], row["total_us"]) == (3, 0, 0)
    assert {row[name] for name in ("mean_us", "min_us", "max_us", "p50_us", "p95_us", "p99_us")} == {None}


def test_an_empty_log_is_an_empty_report(shown: Any) -> None:
    assert json.loads(shown(Summary(), "json"))["rows"] == []
    assert shown(Summary(), "csv") == "rule,method,outcome,requests\n"
    assert shown(Summary(), "table").splitlines()[0].split() == [
        "rule",
        "method",
        "requests",
        "share",
        "4xx",
        "5xx",
    ]


def test_cpu_time_has_its_own_names(shown: Any) -> None:
    summary = Summary()
    summary.add(Batch(LineCounts(lines=2), timings={series(): {9_000: 2}}, cpu={series(): {40: 1, 60: 1}}))
    (row,) = json.loads(shown(summary, "json"))["rows"]
    assert list(row)[-3:] == ["cpu_timed", "cpu_total_us", "cpu_mean_us"]
    assert (row["cpu_timed"], row["cpu_total_us"], row["cpu_mean_us"]) == (2, 100, 50.0)
    assert "cpu mean" in shown(summary)
    assert "50 µs" in shown(summary)


def test_the_caption_says_how_much_of_what_time() -> None:
    summary = Summary(excluded_routes=Excluded(["/users/*"]))
    summary.add(Batch(LineCounts(1_002, outside=2), Period(0, 86_399), {series(): {1: 1_000}}))
    assert caption(summary) == (
        "1,000 requests from 1970-01-01 00:00:00 to 1970-01-01 23:59:59 UTC, 1,000 excluded, "
        "2 outside the time asked for"
    )


# --- hostile ----------------------------------------------------------------------------------------------

HOSTILE = [
    "/[bold red]x[/bold red]", "/[/]", "/[link=file:///etc]", "/\x1b[2J\x1b]0;title\x07", "/\x9b31m",
    "/\u202egnp.exe", "/a\nb\r\nc", '/"quoted", "twice"', "/a|b", "/`code`", "/<script>alert(1)</script>",
    "/日本語/<x>", "/\U0001f600", "=1+1",
]  # fmt: skip


@pytest.mark.parametrize("rule", HOSTILE)
@pytest.mark.parametrize("columns", [40, 200])
def test_a_table_shows_markup_and_hides_escapes(rule: str, columns: int, shown: Any) -> None:
    text = shown(made({series(Route(rule, "e", "matched")): {1: 1}}), columns=columns)
    assert all(char.isprintable() for line in text.splitlines() for char in line)
    assert all(cell_len(line) <= columns for line in text.splitlines())
    if rule.isprintable() and columns == 200:
        assert text.splitlines()[2].startswith(f"{rule} ")
    if columns == 200:
        assert len(text.splitlines()) == 3


@pytest.mark.parametrize("rule", HOSTILE)
def test_programs_get_a_rule_back_as_it_is(rule: str, shown: Any) -> None:
    summary = made({series(Route(rule, "e", "matched")): {1: 1}})
    assert json.loads(shown(summary, "json"))["rows"][0]["rule"] == rule
    text = RENDERERS["csv"].render(summary, "total")
    assert next(csv.DictReader(io.StringIO(text, newline="")))["rule"] == rule


@pytest.mark.parametrize("rule", HOSTILE)
def test_markdown_is_one_line_a_row_with_the_rule_as_code(rule: str) -> None:
    text = RENDERERS["markdown"].render(made({series(Route(rule, "e", "matched")): {1: 1}}), "total")
    header, ruler, row = text.splitlines()
    assert row.startswith("| `` /" if "`" in rule else f"| `{rule[0]}")
    cells = [line.replace("\\|", "").count("|") for line in (header, ruler, row)]
    assert len(set(cells)) == 1


def test_a_file_never_gets_colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    show(
        RENDERERS["table"].render(made({series(USERS): {1: 1}, series(UNMATCHED): {1: 1}}), "total"),
        str(tmp_path / "t"),
    )
    text = (tmp_path / "t").read_text()
    assert "\x1b" not in text
    assert text.count("\n") == 5
