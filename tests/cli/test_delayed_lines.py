"""Lines that were logged long after their time: counted exactly, unless `--fast` asks for speed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from command import invoke

if TYPE_CHECKING:
    from pathlib import Path

LINE = '192.0.2.7 - - [22/Nov/2026:{:02}:{:02}:00 +0000] "GET /health HTTP/1.1" 200 512 "-" "-" 0.042\n'
IN_ORDER, DELAYED = 36_000, 1_000
WINDOW = ("--since", "2026-11-22T03:00", "--until", "2026-11-22T04:00")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten hours in order, and at their end a thousand lines of the fourth hour."""
    minutes = [n * 600 // IN_ORDER for n in range(IN_ORDER)]
    lines = [LINE.format(minute // 60, minute % 60) for minute in minutes]
    lines[-2_000:-1_000] = [LINE.format(3, 30)] * DELAYED
    path = tmp_path_factory.mktemp("delayed") / "access.log"
    path.write_text("".join(lines))
    return path


def reported(log: object, *options: str, stdin: bytes = b"") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(invoke("report", log, "--json", *WINDOW, *options, stdin=stdin).stdout)
    return found


def test_a_file_and_stdin_agree_on_delayed_lines(log: Path, routes: tuple[str, str]) -> None:
    whole = reported(log, *routes)
    assert whole["parsed"] == IN_ORDER // 10 + DELAYED
    assert whole["lines"] == IN_ORDER
    assert whole["skipped_bytes"] == 0
    assert reported("-", *routes, stdin=log.read_bytes()) == whole


def test_fast_skips_what_bisection_leaves_out_and_says_how_much(log: Path, routes: tuple[str, str]) -> None:
    fast = reported(log, "--fast", *routes)
    assert IN_ORDER // 10 <= fast["parsed"] <= IN_ORDER // 10 + DELAYED
    read = log.stat().st_size - fast["skipped_bytes"]
    assert fast["lines"] * len(LINE.format(3, 30)) == read
