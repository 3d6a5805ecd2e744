"""`report --follow`: the table stays up to date while its logs are written, until a signal ends it."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from command import COMMAND, invoke
from sample import line
from servers import poll
from terminal import seen, terminal, wait_for

FOLLOW = [*COMMAND, "report", "access.log", "--routes", "routes.json", "--follow"]


@pytest.fixture
def log(tmp_path: Path, routes: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of three requests, beside the routes of the sample app."""
    monkeypatch.chdir(tmp_path)
    Path("routes.json").write_bytes(Path(routes[1]).read_bytes())
    path = Path("access.log")
    path.write_bytes(3 * line())
    return path


def add(log: Path, lines: bytes) -> None:
    with log.open("ab") as file:
        file.write(lines)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_on_a_terminal_the_table_grows_with_the_log(number: signal.Signals, code: int, log: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with terminal(100) as (person, program):
        following = subprocess.Popen(
            FOLLOW, stdin=program, stdout=program, stderr=subprocess.PIPE, env={**env, "TERM": "xterm"}
        )
        os.close(program)
        try:
            wait_for(person, "3 requests")
            add(log, 2 * line() + b"junk\n")
            wait_for(person, "5 requests")
            following.send_signal(number)
            seen(person)
            _, said = following.communicate(timeout=20)
        finally:
            following.kill()
    assert following.returncode == code
    assert b"1 of 6 lines rejected: no match 1" in said


def test_into_a_pipe_the_table_is_printed_when_it_ends(log: Path) -> None:
    with subprocess.Popen(FOLLOW, stdout=subprocess.PIPE, text=True) as following:
        poll("the log to be opened", lambda: has_open(following.pid, log.resolve()))
        following.send_signal(signal.SIGTERM)
        shown, _ = following.communicate(timeout=20)
    assert following.returncode == 143
    assert shown.startswith("rule ")


def has_open(pid: int, path: Path) -> bool:
    """Tell whether a process has a file open."""
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if fd.readlink() == path:
                return True
    return False


@pytest.mark.parametrize("window", [["--since", "-1h"], ["--until", "now"]])
def test_there_is_no_window_of_time_in_a_log_that_goes_on(window: list[str], log: Path) -> None:
    done = invoke("report", log, "--routes", "routes.json", "--follow", *window, code=2)
    assert "--follow: it reads files to their end and on; leave out --since and --until" in done.stderr
