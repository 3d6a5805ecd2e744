"""Signals end a run at once, and pipes that close end it quietly."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

ROUTES = ("--routes", "routes.json")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_signal_ends_a_run_at_once_and_quietly(
    number: signal.Signals, code: int, jobs: str, started: Any, folder: Path
) -> None:
    process = started("normalize", "-", "--jobs", jobs, *ROUTES)
    process.stdin.write((folder / "ten.log").read_bytes())
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["offset"] == 0, "a live stream is passed on as it comes"
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (code, b"")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_the_app_is_imported(number: signal.Signals, code: int, started: Any) -> None:
    process = started("report", "ten.log", "--app", "slow")
    assert process.stderr.readline() == b"importing\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (code, b"", b"")


def test_a_reader_that_leaves_is_no_error(started: Any) -> None:
    process = started("normalize", "nginx.log", *ROUTES)
    assert process.stdout.readline()
    process.stdout.close()
    process.wait(timeout=20)
    assert process.stderr.read() == b""


def test_a_replay_that_is_ended_says_what_it_has_sent(started: Any) -> None:
    process = started("replay", "nginx.log", *ROUTES, "--dry-run", "--speed", "0.1", "--json")
    assert process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    told = json.loads(err.splitlines()[0])
    assert process.returncode == 143
    assert told["due"] == told["sent"] + told["dropped"] + told["unconfirmed"]
    assert 0 < told["sent"] < 3_000
