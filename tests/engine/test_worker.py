"""A worker reads its work, then tasks, from standard input, and ends with its input."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from typing import Any

import chores
from places import SUPPORT

from logstatsd.engine.worker import send

SERVE = [sys.executable, "-c", "from logstatsd.engine.worker import serve; serve()"]


def replies(*sent: object) -> tuple[list[Any], str]:
    """Give a worker its work and tasks; return its replies, and what it prints to standard error."""
    stdin = io.BytesIO()
    for item in sent:
        send(stdin, item)
    done = subprocess.run(
        SERVE, input=stdin.getvalue(), capture_output=True, check=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
    )  # fmt: skip
    found, stdout = [], io.BytesIO(done.stdout)
    while stdout.tell() < len(done.stdout):
        found.append(pickle.load(stdout))
    return found, done.stderr.decode()


def test_each_task_has_its_result() -> None:
    assert replies(chores.double, 1, 2, 3)[0] == [(True, 2), (True, 4), (True, 6)]


def test_an_exception_of_the_work_is_sent_back_and_the_next_task_done() -> None:
    results, _ = replies(chores.refuse_three, 3, 4)
    (failed, error), after = results
    assert (failed, str(error), after) == (False, "3 is refused", (True, 4))


def test_what_the_work_prints_is_no_reply() -> None:
    results, printed = replies(chores.chatter, 1)
    assert results == [(True, 1)]
    assert printed.count("chatter\n") == 2


def test_a_worker_without_work_ends_in_silence() -> None:
    assert replies() == ([], "")
