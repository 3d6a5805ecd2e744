"""A log whose format changes: every command goes on, says once where, and hides no duration."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
import sample
from command import invoke
from places import SAMPLE_LOGS
from receivers import receiving

from logstatsd.routing.snapshot import dump_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TIMED = (SAMPLE_LOGS / "nginx.log").read_bytes().splitlines()
PLAIN = [line.rpartition(b" ")[0] for line in TIMED]
GUNICORN = (SAMPLE_LOGS / "gunicorn.log").read_bytes().splitlines()
JSON = (SAMPLE_LOGS / "nginx.json.log").read_bytes().splitlines()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "routes.json").write_text(dump_snapshot(sample.loaded().snapshot()))
    return tmp_path


def write(path: Path, *stretches: Iterable[bytes]) -> Path:
    path.write_bytes(b"".join(line + b"\n" for lines in stretches for line in lines))
    return path


def reported(log: Path, *options: str) -> tuple[dict[str, Any], str]:
    done = invoke("report", log, "--routes", "routes.json", "--json", *options)
    return json.loads(done.stdout), done.stderr


def test_following_the_readme_in_the_middle_of_a_day(here: Path) -> None:
    shown, said = reported(write(here / "access.log", PLAIN[:1_000], TIMED[1_000:]))
    assert (shown["lines"], shown["parsed"], shown["rejected"]) == (3_000, 3_000, 0)
    assert sum(row["timed"] for row in shown["rows"]) == 2_000
    assert "access.log: format changed at line 1,001 (2026-11-22 13:51:16): combined → nginx\n" in said
    assert "no durations" not in said


def test_the_table_says_that_some_requests_lack_durations(here: Path) -> None:
    log = write(here / "access.log", PLAIN[:1_000], TIMED[1_000:])
    said = invoke("report", log, "--routes", "routes.json").stderr
    assert "durations from $request_time (seconds, to the millisecond), which 1,000 requests lack" in said


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_several_changes_back_and_forth(jobs: str, here: Path) -> None:
    log = write(here / "access.log", PLAIN[:50], TIMED[50:90], JSON[:40], GUNICORN[:30], PLAIN[90:100])
    shown, said = reported(log, "--jobs", jobs)
    assert (shown["lines"], shown["rejected"]) == (170, 0)
    assert sum(row["timed"] for row in shown["rows"]) == 110
    assert [line.split(" at ")[1] for line in said.splitlines() if "format changed at" in line] == [
        "line 51 (2026-11-22 13:50:57): combined → nginx",
        "line 91 (2026-11-22 13:50:56): nginx → json",
        "line 131 (2026-11-22 13:51:58): json → gunicorn",
    ]
    assert "its format changed 4 times in all" in said


def test_two_formats_that_alternate_line_by_line(here: Path) -> None:
    """Two workers of which one was restarted."""
    mixed = [line for pair in zip(PLAIN[:500], TIMED[500:1_000], strict=True) for line in pair]
    shown, said = reported(write(here / "access.log", mixed))
    assert (shown["lines"], shown["rejected"]) == (1_000, 0)
    assert sum(row["timed"] for row in shown["rows"]) == 500
    assert "its format changed 999 times in all" in said


def test_the_sums_are_those_of_each_format_alone(here: Path) -> None:
    whole, _ = reported(write(here / "access.log", TIMED[:700], GUNICORN[:600], TIMED[700:1_500]))
    nginx, _ = reported(write(here / "nginx.log", TIMED[:1_500]))
    gunicorn, _ = reported(write(here / "gunicorn.log", GUNICORN[:600]))
    for key in ("lines", "parsed"):
        assert whole[key] == nginx[key] + gunicorn[key]
    for name in ("requests", "timed", "total_us", "errors_4xx", "errors_5xx"):
        both = sum(row[name] for part in (nginx, gunicorn) for row in part["rows"])
        assert sum(row[name] for row in whole["rows"]) == both


def test_garbage_is_counted_and_changes_nothing(here: Path) -> None:
    garbage = [b"\x16\x03\x01\x02", b"", b"not a log line", b"\x80\x9f"]
    shown, said = reported(write(here / "access.log", TIMED[:500], garbage, TIMED[500:1_000], garbage))
    assert (shown["lines"], shown["parsed"], shown["rejections"]) == (
        1_008,
        1_000,
        {"empty": 2, "no match": 6},
    )
    assert "format changed" not in said


def test_a_given_format_stays_and_its_cost_is_told(here: Path) -> None:
    log = write(here / "access.log", TIMED[:500], PLAIN[500:600])
    shown, said = reported(log, "--log-format", "nginx")
    assert (shown["parsed"], shown["rejected"]) == (500, 100)
    assert "100 of 600 lines rejected: no match 100" in said
    assert "without --log-format, a change of format is found" in said


HEADS = {"none": b"", "blank": 300_000 * b"\n", "broken": b"garbage\n", "both": b"\x16\x03\n\n"}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_blank_or_broken_head_is_no_end(head: bytes, packed: bool, here: Path) -> None:
    data = head + b"\n".join(TIMED[:200]) + b"\n"
    log = here / "access.log"
    log.write_bytes(gzip.compress(data, 1) if packed else data)
    shown, _ = reported(log)
    assert (shown["parsed"], shown["rejected"]) == (200, head.count(b"\n"))


def test_normalize_goes_on_line_by_line(here: Path) -> None:
    log = write(here / "access.log", PLAIN[:3], TIMED[3:6], JSON[:2])
    done = invoke("normalize", log, "--routes", "routes.json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["duration_us"] is None for row in rows] == 3 * [True] + 5 * [False]
    assert "format changed at line 4" in done.stderr
    assert "format changed at line 7" in done.stderr


def test_check_tells_the_changes(here: Path) -> None:
    out = invoke("check", write(here / "access.log", PLAIN[:100], TIMED[100:200])).stdout
    assert "fits 100 of the first 200 lines" in out
    assert "format changed at byte" in out
    assert "combined → nginx" in " ".join(out.split())


def test_routes_counts_the_unmatched_of_every_format(here: Path) -> None:
    line = b'192.0.2.7 - - [22/Nov/2026:13:25:15 +0000] "GET /nope HTTP/1.1" 404 2 "-" "-"'
    log = write(here / "access.log", 3 * [line], 4 * [line + b" 0.001"])
    found = json.loads(invoke("routes", log, "--routes", "routes.json", "--json").stdout)
    assert found["unmatched"] == [{"target": "/nope", "requests": 7}]


def test_a_replay_sends_the_durations_of_every_stretch(here: Path) -> None:
    log = write(here / "access.log", PLAIN[:500], TIMED[500:1_000], GUNICORN[:300])
    with receiving() as inbox:
        host, port = inbox.address
        done = invoke("replay", log, "--routes", "routes.json", "--json", "--host", host, "--port", port)
    told = json.loads(done.stdout)
    assert (told["lines"], told["rejected"], told["untimed"], told["sent"]) == (1_300, 0, 500, 800)


@pytest.mark.parametrize(("share", "code"), [("0.5", 0), ("20%", 1), ("0", 1)])
def test_more_rejected_than_allowed_fails_after_the_report(share: str, code: int, here: Path) -> None:
    log = write(here / "access.log", TIMED[:70], 30 * [b"garbage"])
    done = invoke("report", log, "--routes", "routes.json", "--json", "--max-rejected", share, code=code)
    assert json.loads(done.stdout)["parsed"] == 70
    assert ("30 of 100 lines rejected, more than --max-rejected" in done.stderr) == bool(code)
