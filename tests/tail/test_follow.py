"""Following logs by name: through rotations, until told to stop, at rest next to no work."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pace import pace
from places import SUPPORT
from resuming import Resumed, numbers
from servers import poll

from logstatsd.tail import follow as follow_module
from logstatsd.tail.checkpoint import LogState, read_checkpoint
from logstatsd.tail.follow import Control, follow
from logstatsd.tail.resume import start

if TYPE_CHECKING:
    from collections.abc import Iterator

CONSUMER = SUPPORT / "consumer.py"


class Following:
    """`follow`, one look at a time."""

    def __init__(self, *logs: Resumed) -> None:
        self.control = Control()
        self.notes: list[str] = []
        states = {str(log.log): start(str(log.log)) if log.log.exists() else LogState() for log in logs}
        self.looks = follow(states, self.control, self.notes.append, poll_s=0)

    def look(self) -> list[int]:
        """The numbers of the lines that came since the last look."""
        lines: list[bytes] = []
        for portion in self.looks:
            if portion is None:
                break
            lines += portion.chunk.data.splitlines()
        return [int(line[-3:]) for line in lines]


@pytest.fixture
def log(tmp_path: Path) -> Resumed:
    """A log with a line."""
    log = Resumed(tmp_path)
    log.append(1, 1)
    return log


@pytest.fixture
def following(log: Resumed) -> Iterator[Following]:
    """Follow that log."""
    following = Following(log)
    assert following.look() == [1]
    yield following
    following.looks.close()
    following.control.__exit__(None, None, None)


def test_lines_come_as_they_are_written(log: Resumed, following: Following) -> None:
    assert following.look() == []
    log.append(2, 3)
    log.write("half a li")
    assert following.look() == [2, 3]
    log.write("ne 0.004\n")
    assert following.look() == [4]


def test_the_old_file_is_finished_before_the_new_one(log: Resumed, following: Following) -> None:
    log.append(2, 2)
    log.rename(".1")
    log.append(3, 3, to=".1")
    log.append(4, 4)
    assert following.look() == [2, 3, 4]
    log.append(5, 5)
    log.copytruncate(".1")
    log.append(6, 20)
    assert following.look() == numbers(5, 20)


def test_a_file_that_is_gone_is_finished_all_the_same(log: Resumed, following: Following) -> None:
    log.append(2, 3)
    log.log.unlink()
    log.append(4, 4)
    assert following.look() == [2, 3, 4]
    assert following.notes == []


def test_a_log_that_is_made_later(tmp_path: Path) -> None:
    log = Resumed(tmp_path)
    following = Following(log)
    assert following.look() == []
    log.append(1, 2)
    assert following.look() == [1, 2]
    assert following.notes == [f"{log.log}: is not there now, nor is a rotated generation of it"]
    following.looks.close()
    following.control.__exit__(None, None, None)


def test_several_logs(tmp_path: Path) -> None:
    one, two = Resumed(tmp_path, "one.log"), Resumed(tmp_path, "two.log")
    one.append(1, 1)
    two.append(2, 2)
    following = Following(one, two)
    assert following.look() == [1, 2]
    two.append(3, 3)
    assert following.look() == [3]
    following.looks.close()
    following.control.__exit__(None, None, None)


def test_where_nothing_changes_a_look_is_one_stat(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_module, "resume", lambda *_: pytest.fail("looked into the files"))
    for _ in range(10):
        assert following.look() == []


def test_it_looks_into_the_files_at_once_when_told_to_reopen(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    resume = follow_module.resume
    monkeypatch.setattr(
        follow_module, "resume", lambda log, *rest: (looked.append(log), resume(log, *rest))[1]
    )
    following.control.reopen()
    following.look()
    assert len(looked) == 1


def test_stop_wakes_a_sleeping_run(log: Resumed) -> None:
    with Control() as control:
        looks = follow({str(log.log): start(str(log.log))}, control, pytest.fail, poll_s=60)
        while next(looks) is not None:
            pass
        threading.Timer(0.05, control.stop).start()
        assert list(looks) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_with_its_state_intact(number: int, tmp_path: Path) -> None:
    log = Resumed(tmp_path)
    log.append(1, 100)
    checkpoint, out = tmp_path / "state.json", tmp_path / "out"
    command = [sys.executable, str(CONSUMER), str(log.log), str(checkpoint), str(out), "--follow"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as run:
        poll("the lines", lambda: out.exists() and out.read_bytes().count(b"\n") == 101)
        run.send_signal(signal.SIGHUP)
        run.send_signal(number)
        assert run.wait(timeout=5) == 0
        assert run.stderr.read() == b""
    state = read_checkpoint(checkpoint, f"file:{out}").logs[str(log.log)]
    assert state.positions[-1].offset == log.log.stat().st_size


@pytest.mark.measured
def test_at_rest_it_uses_next_to_no_cpu(log: Resumed) -> None:
    with Control() as control:
        looks = follow({str(log.log): start(str(log.log))}, control, pytest.fail)
        next(looks)
        began = time.process_time()
        for _ in range(4):
            next(looks)
        assert time.process_time() - began < 0.02
        control.stop()


def test_no_descriptor_is_left_open(log: Resumed, following: Following) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(2, 8):
        log.append(number, number)
        log.rename(f".{number}")
        log.log.touch()
        assert following.look() == [number]
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


@pytest.mark.slow
@pytest.mark.measured
def test_it_keeps_up_with_20_000_lines_a_second_in_bounded_memory(tmp_path: Path) -> None:
    """The real command; for a minute, in memory that is flat: tests/support/pace.py."""
    seen = pace(tmp_path, lines=40_000, warm_up_lines=20_000)
    assert seen.cpu_share < 0.5, seen
    assert seen.last_rss < 96 << 20, seen
