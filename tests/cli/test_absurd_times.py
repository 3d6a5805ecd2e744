"""Times that no clock shows: no command fails for them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from command import invoke

from logstatsd.text import iso_utc

if TYPE_CHECKING:
    from pathlib import Path

LINE = '192.0.2.7 - - [{}] "GET /health HTTP/1.1" 200 512 "-" "-" 0.042\n'
CLF = (
    "22/Nov/0001:00:00:00 +0000", "01/Jan/0001:00:00:00 +2359", "31/Dec/9999:23:59:59 -2359",
    "22/Nov/0000:00:00:00 +0000", "22/Foo/2026:13:25:15 +0000", "31/Feb/2026:13:25:15 +0000",
    "22/Nov/2026:13:99:15 +0000", "22/Nov/2026:99:25:15 +0000", "22/Nov/2026:13:25:99 +0000",
    "22/Nov/2026:13:25:15 +9999",
)  # fmt: skip
WORDS = (
    "1e20", "1e400", "nan", "inf", "-1", "99999999999999", "253402300799", "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59", "2026-13-01T00:00:00Z", "2026-11-22T13:99:00Z", "2026-11-22T13:25:15+99:99",
    "\\ud800", "",
)  # fmt: skip
COMMANDS = (
    "report --json", "report", "report --since 2026-01-01T00:00", "report --until 9999-12-31T00:00", "check",
    "normalize", "routes", "replay --dry-run", "replay --dry-run --json --backfill",
    "report --fast --since -1d",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_fails_for_an_absurd_time(command: str, tmp_path: Path, routes: tuple[str, str]) -> None:
    (tmp_path / "clf.log").write_text("".join(map(LINE.format, CLF)))
    members = [{"time": time, "request": "GET /health", "status": 200, "request_time": 0.1} for time in WORDS]
    (tmp_path / "json.log").write_text("".join(f"{json.dumps(each)}\n" for each in members))
    name, *options = command.split()
    for log in sorted(tmp_path.glob("*.log")):
        invoke(name, log, *options, *routes)


def test_a_time_that_no_clock_shows_is_none(tmp_path: Path, routes: tuple[str, str]) -> None:
    (tmp_path / "clf.log").write_text("".join(map(LINE.format, CLF)))
    done = invoke("normalize", tmp_path / "clf.log", *routes)
    times = [json.loads(line)["time"] for line in done.stdout.splitlines()]
    assert times[0] == "0001-11-22T00:00:00+00:00"
    assert times[1:6] == [None] * 5


@pytest.mark.parametrize("moment_s", [1e20, -1e20, 1e400, float("nan"), 253_402_300_800])
def test_a_moment_that_no_calendar_has_is_not_written(moment_s: float) -> None:
    assert iso_utc(moment_s) is None


@pytest.mark.parametrize(
    "when", ["0001-01-01T00:00+23:59", "9999-12-31T23:59-23:59", "-99999999999d", "1e20"]
)
def test_an_absurd_edge_of_time_is_taken_or_refused(
    when: str, tmp_path: Path, routes: tuple[str, str]
) -> None:
    (tmp_path / "clf.log").write_text(LINE.format(CLF[0]))
    done = invoke("report", tmp_path / "clf.log", "--since", when, *routes, code=None)
    assert done.exit_code in (0, 2)
