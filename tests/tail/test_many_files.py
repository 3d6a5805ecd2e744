"""Thousands of rotated files, and files whose names and rights are odd."""

from __future__ import annotations

import gzip
import os
import resource
import time
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from resuming import Resumed, lines, numbers

from logstatsd.errors import InputError
from logstatsd.tail import private, rotated
from logstatsd.tail.resume import resume, start
from logstatsd.tail.rotated import LogFile, log_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECOND = 1_000_000_000


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """A process that may hold 128 descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def generations(log: Resumed, count: int, *, packed: bool) -> None:
    """Make so many rotated files of one line each, a second apart, the oldest with the highest number."""
    now = time.time_ns()
    for number in range(count, 0, -1):
        content = f"{lines(count - number, count - number)[0]}\n".encode()
        path = log.beside(f".{number}.gz" if packed else f".{number}")
        path.write_bytes(gzip.compress(content) if packed else content)
        moment_ns = now - number * SECOND
        os.utime(path, ns=(moment_ns, moment_ns))


@pytest.mark.parametrize("packed", [True, False])
def test_more_rotated_files_than_descriptors(tmp_path: Path, few_descriptors: None, packed: bool) -> None:
    """None of them at the first run, all of them where the log's file is gone, none of them after."""
    log = Resumed(tmp_path)
    log.append(999, 999)
    os.utime(log.log, (1_000_000_000, 1_000_000_000))
    assert log.run() == [999]
    log.log.unlink()
    generations(log, 400, packed=packed)
    log.append(998, 998)
    assert log.run() == [*numbers(0, 399), 998]
    assert log.run() == []
    for path in tmp_path.glob("access.log.*"):
        path.touch()
    log.rename(".0")
    log.append(997, 997)
    assert log.run() == [997]


def test_files_that_were_read_are_not_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Resumed(tmp_path)
    generations(log, 300, packed=True)
    log.append(999, 999)
    assert log.run() == [999]
    opened: list[Path] = []
    original = LogFile.fd
    monkeypatch.setattr(
        LogFile, "fd", property(lambda self: (opened.append(self.path), original.fget(self))[1])
    )
    log.append(998, 998)
    log.rename(".0")
    log.append(997, 997)
    assert log.run() == [998, 997]
    assert {path.name for path in opened} == {"access.log.0", "access.log"}


def test_the_state_does_not_grow_while_many_files_are_read(tmp_path: Path) -> None:
    log = Resumed(tmp_path)
    log.append(999, 999)
    os.utime(log.log, (1_000_000_000, 1_000_000_000))
    log.run()
    log.log.unlink()
    generations(log, 200, packed=False)
    log.append(998, 998)
    with resume(str(log.log), start_of(log)) as reading:
        assert max(len(portion.state.positions) for portion in reading.portions()) <= 16


def start_of(log: Resumed):  # type: ignore[no-untyped-def]
    """The state that the last run saved."""
    from resuming import DESTINATION

    from logstatsd.tail.checkpoint import read_checkpoint

    return read_checkpoint(log.checkpoint, DESTINATION).logs[str(log.log)]


@pytest.mark.slow
@pytest.mark.measured
def test_2760_generations_take_seconds(tmp_path: Path) -> None:
    """Twice the files take about twice the time, not four times."""
    took = []
    for count in (690, 2760):
        log = Resumed(tmp_path / str(count))
        log.log.parent.mkdir()
        log.append(5001, 5001)
        os.utime(log.log, (1_000_000_000, 1_000_000_000))
        log.run()
        log.log.unlink()
        generations(log, count, packed=True)
        log.append(5002, 5002)
        began = time.process_time()
        with mock.patch.object(private.os, "fsync"):  # thousands of syncs would take a minute
            assert len(log.run()) == count + 1
        took.append(time.process_time() - began)
    assert took[1] < 30
    assert took[1] < 4 * 2 * took[0]


class TestOdd:
    @pytest.mark.parametrize(
        "name", [b"new\nline.log", b"latin-\xe9.log", b"caf\xc3\xa9.log", b"tab\t\x1b[31m.log", b"-.log"]
    )
    def test_names_of_any_bytes(self, tmp_path: Path, name: bytes) -> None:
        log = Resumed(tmp_path, os.fsdecode(name))
        log.append(101, 103)
        assert log.run() == numbers(101, 103)
        log.rename(".1")
        log.append(104, 105)
        assert log.run() == [104, 105]
        log.log.write_text("")
        log.append(106, 106)
        assert log.run() == [106]
        assert len(log.notes) == 1

    def test_other_names_beside_the_log_are_passed(self, tmp_path: Path) -> None:
        log = Resumed(tmp_path)
        log.append(101, 103)
        for name in (b"access.log.1\n", b"access.log.\xff", b"access.log.1\x00"[:-1] + b" ", b"access.log."):
            (tmp_path / os.fsdecode(name)).write_text("no line of ours\n")
        assert log.run() == numbers(101, 103)
        log.rename(".2")
        log.append(104, 104)
        assert log.run() == [104]

    def test_things_that_are_no_files_are_passed(self, tmp_path: Path) -> None:
        log = Resumed(tmp_path)
        log.append(101, 103)
        assert log.run() == numbers(101, 103)
        log.rename(".9")
        log.beside(".1").symlink_to("access.log.1")
        log.beside(".2").symlink_to("nowhere")
        log.beside(".3").mkdir()
        os.mkfifo(log.beside(".4"))
        log.append(104, 104)
        assert log.run() == [104]
        assert log.notes == []

    @pytest.mark.parametrize("problem", [PermissionError(13, "Permission denied"), OSError(5, "I/O error")])
    def test_a_rotated_file_that_cannot_be_read_is_said_and_the_rest_is_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: OSError
    ) -> None:
        log = Resumed(tmp_path)
        log.append(101, 103)
        log.run()
        log.rename(".3")
        for number, ending in ((104, ".2"), (105, ".1"), (106, "")):
            log.append(number, number, to=ending)
        opened = os.open

        def refusing(path: object, *rest: int) -> int:
            if str(path).endswith(".2"):
                raise problem
            return opened(path, *rest)

        monkeypatch.setattr(os, "open", refusing)
        assert log.run() == [105, 106]
        assert len(log.notes) == 1
        assert "access.log.2" in log.notes[0]
        assert log.notes[0].endswith("its lines are left out")

    def test_files_that_come_and_go_while_they_are_listed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = Resumed(tmp_path)
        log.append(101, 103)
        names = rotated._names
        ghosts = iter(range(1000))

        def haunted(directory: Path) -> set[str]:
            """A directory in which another file has come and gone at each look."""
            path = log.beside(f".{next(ghosts)}")
            path.touch()
            found = names(directory)
            path.unlink()
            return found

        monkeypatch.setattr(rotated, "_names", haunted)
        assert [file.path for file in log_files(str(log.log))] == [log.log]
        assert log.run() == numbers(101, 103)

    def test_a_log_that_never_stops_rotating_is_one_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = Resumed(tmp_path)
        log.append(101, 103)
        log.run()
        names = rotated._names
        ghosts = iter(range(10_000))

        def rotating(directory: Path) -> set[str]:
            log.beside(f".{next(ghosts)}").touch()
            return names(directory)

        monkeypatch.setattr(rotated, "_names", rotating)
        monkeypatch.setattr(rotated, "_SETTLE_TRIES", 1)
        monkeypatch.setattr("logstatsd.tail.resume._PAUSE_S", 0)
        log.log.unlink()
        log.append(104, 104)
        with pytest.raises(InputError, match="was rotated again and again while it was looked at; try again"):
            log.run()

    def test_a_first_run_at_a_log_that_vanishes_is_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such file"):
            start(str(tmp_path / "access.log"))
