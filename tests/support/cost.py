"""Measure what a command costs in starts of a bare Python: a busy or a slow machine stretches both."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BARE = (sys.executable, "-c", "pass")
ISOLATED = (sys.executable, "-I", "-S", "-c", "pass")
TRIES = 5


def seconds(*command: str) -> float:
    """Processor time of a command that has to succeed."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_utime + used.ru_stime


def least(*measures: Callable[[], float]) -> list[float]:
    """The least of some tries of each measure, tried in turn."""
    tries = [[measure() for measure in measures] for _ in range(TRIES)]
    return [min(each) for each in zip(*tries, strict=True)]


def python_starts(command: Sequence[str], without: Sequence[str] | None = None) -> float:
    """Measure a command in starts of Python, less those that another command costs."""
    bare, cost, rest = least(
        lambda: seconds(*BARE), lambda: seconds(*command), lambda: seconds(*without) if without else 0.0
    )
    return (cost - rest) / bare
