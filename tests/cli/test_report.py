"""`report` of several logs in several formats, by the duration and in the stretch of time asked for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from command import invoke
from places import SAMPLE_LOGS, SHOP

from logstatsd.formats.presets import FORMATS

if TYPE_CHECKING:
    from pathlib import Path

NGINX = FORMATS["nginx-upstream"].sample


def report(*arguments: object) -> dict[str, object]:
    found: dict[str, object] = json.loads(invoke("report", *arguments, "--app", SHOP, "--json", "-q").stdout)
    return found


def caption(*arguments: object) -> str:
    return invoke("report", *arguments, "--app", SHOP).stderr


def test_logs_of_different_formats_are_one_report() -> None:
    names = ("nginx.log", "nginx.json.log", "gunicorn.log", "gunicorn_default.log")
    logs = [SAMPLE_LOGS / name for name in names]

    together, alone = report(*logs), [report(log) for log in logs]

    assert together["lines"] == sum(each["lines"] for each in alone)  # type: ignore[misc]
    assert together["parsed"] == together["lines"]


# --- which clock ----------------------------------------------------------------------------------------


def test_the_caption_says_where_durations_come_from(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(NGINX + "\n")

    assert "durations from $request_time (seconds, to the millisecond)" in caption(log)
    chosen = caption(log, "--time-field", "upstream_response_time")
    assert "durations from $upstream_response_time (seconds of each upstream, added)" in chosen


def test_a_field_is_taken_in_the_unit_given(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text('{"method":"GET","url":"/health","status":200,"rt":42}\n')

    assert report(log)["rows"][0]["total_us"] == 42  # type: ignore[index]
    assert report(log, "--field", "duration=rt:ms")["rows"][0]["total_us"] == 42_000  # type: ignore[index]
    assert "durations from rt (milliseconds, maybe with decimals)" in caption(
        log, "--field", "duration=rt:ms"
    )


# --- which stretch of time ------------------------------------------------------------------------------


@pytest.fixture
def hourly(tmp_path: Path) -> Path:
    """One request an hour of 22 November 2026, in India."""
    log = tmp_path / "access.log"
    line = NGINX.replace("13:25:15 +0000", "{:02}:30:00 +0530")
    log.write_text("".join(f"{line.format(hour)}\n" for hour in range(24)))
    return log


@pytest.mark.parametrize(
    ("window", "lines"),
    [
        (["--since", "2026-11-22T13:30"], 11),  # the log's own clock, the beginning included
        (["--since", "2026-11-22T13:30:01"], 10),
        (["--until", "2026-11-22T13:30"], 13),  # the end left out
        (["--since", "2026-11-22T13:00", "--until", "2026-11-22T15:00"], 2),
        (["--since", "2026-11-22T08:00:00Z"], 11),
        (["--since", "2026-11-22T08:00:00+00:00", "--until", "2026-11-22 14:00"], 1),
        (["--since", "2026-11-22"], 24),
        (["--until", "2026-11-22"], 0),
    ],
)
def test_a_moment_without_an_offset_is_in_the_logs_own(hourly: Path, window: list[str], lines: int) -> None:
    found = report(hourly, *window)

    assert found["parsed"] == lines
    assert found["lines"] == found["parsed"] + found["outside"] + found["rejected"]  # type: ignore[operator]


def test_a_window_is_the_same_in_every_format_of_time(tmp_path: Path) -> None:
    lines = {
        "clf.log": '1 - - [22/Nov/2026:14:25:15 +0100] "GET /health HTTP/1.1" 200 5 "-" "-" 0.001',
        "iso.json": '{"time":"2026-11-22T13:25:15Z","method":"GET","url":"/health","status":200}',
        "unix.json": '{"ts":1795353915.5,"method":"GET","url":"/health","status":200}',
        "ms.json": '{"ts":1795353915500,"method":"GET","url":"/health","status":200}',
        "werkzeug.log": '1 - - [22/Nov/2026 13:25:15] "GET /health HTTP/1.1" 200 -',
    }
    for name, line in lines.items():
        (tmp_path / name).write_text(line + "\n")
        inside = report(tmp_path / name, "--since", "2026-11-22T13:25:15Z", "--until", "2026-11-22T13:25:16Z")
        before = report(tmp_path / name, "--until", "2026-11-22T13:25:15Z")

        assert (name, inside["parsed"], before["parsed"]) == (name, 1, 0)
