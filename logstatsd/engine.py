"""Map tasks to results, in order: here, or over light worker processes."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Task = TypeVar("Task")
Result = TypeVar("Result")


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def serial(work: Callable[[Task], Result], tasks: Iterable[Task], jobs: int = 1) -> Iterator[Result]:  # noqa: ARG001
    """Do one task after the other in this process."""
    collecting = gc.isenabled()
    gc.disable()  # rows by the ten thousand and no cycles: collections would cost a quarter of the time
    try:
        yield from map(work, tasks)
    finally:
        if collecting:
            gc.enable()


def processes(work: Callable[[Task], Result], tasks: Iterable[Task], jobs: int) -> Iterator[Result]:
    """Do the tasks in `jobs` worker processes; see `workers`."""
    from logstatsd import workers  # noqa: PLC0415

    return workers.processes(work, tasks, jobs)


ENGINES: dict[str, Callable[[Callable[[Any], Any], Iterable[Any], int], Iterator[Any]]] = {
    "serial": serial,
    "processes": processes,
}
