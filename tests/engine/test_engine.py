"""Chunks become results in order, here or in worker processes: light, bounded, and never left behind."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import chores
import pytest
import sample
from cost import ISOLATED, least, seconds
from places import SAMPLE_LOGS

from logstatsd import engine
from logstatsd.engine.processes import WorkerError
from logstatsd.engine.processes import run as processes
from logstatsd.report.summary import Summary
from logstatsd.scan import run as pipeline
from logstatsd.scan.logs import open_logs
from logstatsd.scan.run import Run
from logstatsd.scan.settle import Settler
from logstatsd.sources import source as sources

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAVY = ("click", "datadog", "flask", "jinja2", "requests", "rich", "werkzeug")
NGINX_LOG = SAMPLE_LOGS / "nginx.log"
ENGINES = pytest.mark.parametrize(
    "run", [partial(engine.run, name) for name in engine.ENGINES], ids=engine.ENGINES
)


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """End a test that waits for ever: the failure that this file is about."""

    def end(*_: object) -> None:
        raise TimeoutError("hangs")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended and was waited for: a zombie still has its number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


# --- results ----------------------------------------------------------------------------------------------


@ENGINES
@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_results_come_in_the_order_of_the_tasks(run: Any, jobs: int) -> None:
    assert list(run(chores.early_ones_late, range(9), jobs)) == list(range(9))


@ENGINES
def test_no_tasks_no_results(run: Any) -> None:
    assert list(run(chores.double, [], 2)) == []


@ENGINES
def test_what_the_work_raises_is_raised_at_its_place(run: Any) -> None:
    results = run(chores.refuse_three, range(9), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="3 is refused"):
        next(results)


@ENGINES
def test_what_the_tasks_raise_is_raised_after_the_results_before(run: Any) -> None:
    def tasks() -> Iterator[int]:
        yield from range(3)
        raise OSError("the disk is gone")

    results = run(chores.double, tasks(), 2)
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)


def test_at_most_two_tasks_a_job_are_under_way() -> None:
    taken = 0

    def tasks() -> Iterator[int]:
        nonlocal taken
        while taken < 40:
            taken += 1
            yield taken

    for done, _ in enumerate(processes(chores.double, tasks(), 2)):
        assert taken - done <= 2 * 2 + 1, "the one that is here, and two for each of the two jobs"


def test_a_result_is_passed_on_while_the_next_task_is_long_in_coming() -> None:
    seen = threading.Event()

    def slow_pipe() -> Iterator[int]:
        yield 1
        assert seen.wait(20), "the first result is held back until the second task is there"
        yield 2

    for result in processes(chores.double, slow_pipe(), 2):
        assert result in (2, 4)
        seen.set()


def test_a_worker_may_print_without_harm(capfd: pytest.CaptureFixture[str]) -> None:
    assert list(processes(chores.chatter, range(3), 1)) == [0, 1, 2]
    out, err = capfd.readouterr()
    assert (out, err.count("chatter\n")) == ("", 6)


# --- the end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("work", "how"),
    [(chores.killed_at_three, "killed by SIGKILL"), (chores.exits_at_three, "ended with exit code 7")],
)
def test_a_worker_that_dies_is_reported_with_its_task(work: Any, how: str) -> None:
    results = processes(work, range(9), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(WorkerError, match=f"{how}.* at 3;"):
        next(results)


def test_a_dead_worker_names_the_bytes_of_the_log() -> None:
    task = pipeline.Task(0, sources.Chunk("access.log", 8_388_608, 1_000))
    with pytest.raises(WorkerError, match=r"at access\.log, bytes 8,388,608 to 8,389,608"):
        list(processes(chores.killed, [task], 1))


def test_workers_are_gone_when_the_work_is_done() -> None:
    pids = set(processes(chores.pid, range(20), 2))
    assert pids
    assert all(map(is_gone, pids))


def test_workers_are_gone_when_the_reader_leaves() -> None:
    results = processes(chores.pid, iter(int, 1), 2)  # tasks without end
    pids = {next(results) for _ in range(8)}
    results.close()  # type: ignore[attr-defined]
    assert all(map(is_gone, pids))


def test_workers_are_gone_after_one_of_them_died() -> None:
    children = set(_children())
    with pytest.raises(WorkerError):
        list(processes(chores.killed_at_three, range(9), 2))
    assert set(_children()) == children


def test_leaving_does_not_wait_for_work_that_never_ends() -> None:
    def tasks() -> Iterator[int]:
        yield 0
        yield 1
        threading.Event().wait()  # a pipe that says nothing more

    results = processes(chores.early_ones_late, tasks(), 2)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    stuck = processes(chores.for_ever, range(9), 2)
    threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        next(stuck)


def test_no_more_workers_are_started_than_there_are_tasks() -> None:
    before = set(_children())
    results = processes(chores.pid, range(2), 64)
    pids = {next(results), next(results)}
    assert set(_children()) - before <= pids
    assert list(results) == []


def _children() -> list[int]:
    """The processes that this one started and has not waited for."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(entry.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(entry.parent.name))
    return found


def test_ctrl_c_at_the_terminal_is_not_the_workers_to_handle() -> None:
    assert os.getpgrp() not in set(processes(chores.group, range(2), 2))


# --- workers are light ------------------------------------------------------------------------------------


def test_a_worker_imports_nothing_heavy() -> None:
    (seen,) = processes(chores.modules, [0], 1)
    assert not set(HEAVY) & set(seen)
    assert not {"multiprocessing", "concurrent.futures", "logging"} & set(seen)


APP = """
from flask import Flask

app = Flask(__name__)
app.add_url_rule("/health", "health", lambda: "ok")
"""
SPYING = """
import os, sys

# Every Python that this one starts through sys.executable writes down what it imports.
os.environ["REAL_PYTHON"], sys.executable = sys.executable, os.environ["SPY"]
"""


@pytest.mark.parametrize(
    "command",
    [["logstatsd"], [sys.executable, "-m", "logstatsd"], ["flask", "--app", "spied:app", "logstatsd"]],
    ids=["logstatsd", "python -m logstatsd", "flask logstatsd"],
)
def test_workers_are_light_however_the_command_is_started(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "spied.py").write_text(APP)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SPYING)
    spy = tmp_path / "python"
    spy.write_text(f'#!/bin/sh\nexec "$REAL_PYTHON" -X importtime "$@" 2>>{tmp_path}/imports.$$\n')
    spy.chmod(0o755)
    line = b'192.0.2.7 - - [22/Nov/2026:13:25:15 +0000] "GET /health HTTP/1.1" 200 2 "-" "-" 0.001\n'
    (tmp_path / "access.log").write_bytes(1_000 * line)
    command = [shutil.which(command[0]) or command[0], *command[1:]]
    app = [] if "flask" in command[0] else ["--app", "spied:app"]
    environment = {**os.environ, "SPY": str(spy), "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [*command, "report", "access.log", "--jobs", "2", "--engine", "processes", "--json", *app],
        cwd=tmp_path, env=environment, capture_output=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["rows"][0]["rule"] == "/health"
    imported = [path.read_text() for path in tmp_path.glob("imports.*")]
    names = {line.rpartition("|")[2].strip() for text in imported for line in text.splitlines()}
    assert "logstatsd.scan.scanner" in names, "the spy was not asked"
    assert not {name.partition(".")[0] for name in names} & set(HEAVY)


@pytest.mark.measured
def test_a_worker_is_ready_at_once(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(NGINX_LOG.read_bytes()[:2_000])
    scan = Run(open_logs([str(log)]), sample.router(), jobs=2)

    def small_scan() -> float:
        """Processor time from the start of a worker to the end of a small scan."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert [piece.batch.counts.parsed for piece in scan.pieces()]
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    python, worker = least(lambda: seconds(*ISOLATED), small_scan)
    assert worker < 12 * python


# --- a report does not depend on how it was made ----------------------------------------------------------


def tally(jobs: int, size: int, monkeypatch: pytest.MonkeyPatch, *paths: str) -> Any:
    monkeypatch.setattr(pipeline.sources, "chunks", functools.partial(sources.chunks, size=size))
    settler, summary = Settler(sample.loaded()), Summary()
    for piece in Run(open_logs(paths), sample.router(), jobs=jobs).pieces():
        summary.add(settler.settle(piece.batch))
    ranks = [n / 100 for n in range(101)]
    rows = {key: (group.requests, group.wall.quantiles(ranks)) for key, group in summary.groups.items()}
    return summary.counts.lines, summary.counts.rejected, summary.period, rows


@pytest.mark.parametrize(("jobs", "size"), [(1, 10_000), (2, 30_000), (3, 1 << 20)])
def test_results_do_not_depend_on_jobs_or_the_size_of_chunks(
    jobs: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tally(1, 1 << 30, monkeypatch, str(NGINX_LOG))
    assert tally(jobs, size, monkeypatch, str(NGINX_LOG)) == whole


def test_results_do_not_depend_on_the_order_of_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = [str(NGINX_LOG), str(SAMPLE_LOGS / "gunicorn.log")]
    assert tally(1, 1 << 20, monkeypatch, *logs) == tally(1, 1 << 20, monkeypatch, *reversed(logs))
