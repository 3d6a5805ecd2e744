"""Blank and broken lines, however many: no command takes the log for empty, or needs much memory."""

from __future__ import annotations

import gzip
import json
import sys
from typing import TYPE_CHECKING

import pytest
from command import COMMAND, invoke, run

if TYPE_CHECKING:
    from pathlib import Path

LINE = b'192.0.2.7 - - [22/Nov/2026:13:25:15 +0000] "GET /health HTTP/1.1" 200 512 "-" "-" 0.042\n'
HEADS = {
    "one": b"\n",
    "broken": b"GET /heal\xff\x00\n",
    "spaces": b" \t\r\n" * 1_000,
    "half a line": LINE[40:],
    "long": b"\n" * (1 << 20),
}
COMMANDS = ("report", "normalize", "check", "replay --dry-run", "routes")
MOST_KIB = 800_000


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("how", ["file", "gzip", "stdin", "given"])
def test_a_blank_or_broken_head_costs_nothing(
    command: str, head: str, how: str, tmp_path: Path, routes: tuple[str, str]
) -> None:
    data = HEADS[head] + LINE * 3
    log = tmp_path / "access.log"
    log.write_bytes(gzip.compress(data) if how == "gzip" else data)
    name, *options = command.split()
    if how == "given":
        options += ["--log-format", "nginx"]
    if name == "check" and how == "stdin":
        pytest.skip("a log is checked where it is")
    done = invoke(name, "-" if how == "stdin" else log, *options, *routes, stdin=data)
    assert f"{'-' if how == 'stdin' else log}: empty" not in done.stderr
    counts = {"report": "3 requests from", "normalize": '"rule": "/health"', "replay --dry-run": "3 timings"}
    assert counts.get(command, "") in done.output


@pytest.mark.parametrize("command", ["replay --resume -q --socket missing.sock"])
def test_a_run_that_goes_on_reads_past_a_blank_head(
    command: str, tmp_path: Path, routes: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "access.log").write_bytes(HEADS["long"] + LINE)
    name, *options = command.split()
    done = invoke(name, "access.log", *options, *routes, code=3)
    assert "no StatsD server" in done.stderr


MEASURED = """
import os, subprocess, sys
done = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, used = os.wait4(done.pid, 0)
print(used.ru_maxrss, used.ru_utime, os.waitstatus_to_exitcode(status))
"""
"""In a small process: what is started takes over the peak of what starts it."""


def cost(*args: object) -> tuple[int, float, int]:
    """The most memory that a command took in KiB, its processor time in seconds, and its exit code."""
    done = run(*args, command=[sys.executable, "-c", MEASURED, *COMMAND], code=0)
    peak_kib, used_s, code = done.stdout.split()
    return int(peak_kib), float(used_s), int(code)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["report", "normalize", "check"])
@pytest.mark.parametrize("kind", ["blank", "blank tail", "gzip", "long lines"])
def test_memory_is_bounded_whatever_the_lines(
    command: str, kind: str, tmp_path: Path, routes: tuple[str, str]
) -> None:
    blank = b"\n" * (12 << 20)
    data = {
        "blank": blank,
        "blank tail": LINE + blank,
        "gzip": gzip.compress(blank + LINE),
        "long lines": LINE.replace(b"/health", b"/" + b"a" * 60_000) * 500,
    }[kind]
    log = tmp_path / "access.log"
    log.write_bytes(data)
    peak_kib, used_s, code = cost(command, log, *routes)
    assert peak_kib < MOST_KIB
    assert used_s < 30
    assert code == (1 if kind == "blank" else 0)


def test_nothing_but_blank_lines_is_said_to_be_that(tmp_path: Path, routes: tuple[str, str]) -> None:
    (tmp_path / "access.log").write_bytes(HEADS["long"])
    for command in ("report", "normalize", "check"):
        done = invoke(command, tmp_path / "access.log", *routes, code=1)
        assert "nothing but blank lines" in done.stderr


def test_normalize_numbers_blank_lines_by_their_bytes(tmp_path: Path, routes: tuple[str, str]) -> None:
    data = LINE + b"\r\n\n" * 200_000 + LINE
    (tmp_path / "access.log").write_bytes(data)
    found = [
        json.loads(line) for line in invoke("normalize", tmp_path / "access.log", *routes).stdout.splitlines()
    ]
    starts = [0, *(n + 1 for n, byte in enumerate(data[:-1]) if byte == 10)]
    assert [entry["offset"] for entry in found] == starts
    assert sum("rejected" in entry for entry in found) == 400_000
