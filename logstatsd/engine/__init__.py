"""ENGINES: where the work on chunks is done. Each maps tasks to results, in order."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


AUTO = "auto"
"""Stands for the engine that suits the size of the logs."""


class Engine(NamedTuple):
    """One place where work is done; `module` has a function `run(work, tasks, jobs)`, imported at need."""

    about: str
    module: str


ENGINES: dict[str, Engine] = {
    "serial": Engine("one task after the other, in this process", "logstatsd.engine.serial"),
    "threads": Engine(
        "threads of this process, for work that lets the interpreter go", "logstatsd.engine.threads"
    ),
    "processes": Engine("light worker processes on this machine", "logstatsd.engine.processes"),
}

SHARING = frozenset(("serial", "threads"))
"""The engines whose tasks are done by the very `work` that they are given, in this process."""


def run(
    engine: str, work: Callable[[_Task], _Result], tasks: Iterable[_Task], jobs: int = 1
) -> Iterator[_Result]:
    """Do `work` on every task with one of ENGINES, in `jobs` places at a time; results come in order."""
    start: Callable[..., Any] = import_module(ENGINES[engine].module).run
    results: Iterator[_Result] = start(work, tasks, jobs)
    return results


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
