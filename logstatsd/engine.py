"""Map tasks to results, in order: here, or over light worker processes."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, TypeVar

from logstatsd.errors import LogstatsdError

Task = TypeVar("Task")
Result = TypeVar("Result")
Work = Callable[[Task], Result]


class WorkerError(LogstatsdError):
    """A worker process ended before its work was done."""


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def serial(work: Work[Task, Result], tasks: Iterable[Task], jobs: int = 1) -> Iterator[Result]:  # noqa: ARG001
    """Do one task after the other in this process."""
    collecting = gc.isenabled()
    gc.disable()  # rows by the ten thousand and no cycles: collections would cost a quarter of the time
    try:
        yield from map(work, tasks)
    finally:
        if collecting:
            gc.enable()


def processes(work: Work[Task, Result], tasks: Iterable[Task], jobs: int) -> Iterator[Result]:
    """Do the tasks in `jobs` worker processes; results come in order, at most 2 x `jobs` are under way.

    `work`, tasks and results are pickled; `work` once per worker. An exception that `work` raises is raised
    here. Raises WorkerError, naming the task, when a worker dies.
    """
    from concurrent.futures import Future, ThreadPoolExecutor  # noqa: PLC0415
    from queue import SimpleQueue  # noqa: PLC0415

    idle: SimpleQueue[_Worker] = SimpleQueue()
    workers = [_Worker(work) for _ in range(jobs)]
    for worker in workers:
        idle.put(worker)

    def run(task: Task) -> Any:
        worker = idle.get()
        try:
            return worker.do(task)
        finally:
            idle.put(worker)

    under_way: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(jobs) as threads:
        try:
            for task in tasks:
                under_way.append(threads.submit(run, task))
                if len(under_way) >= 2 * jobs:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()
            for worker in workers:
                worker.end()


ENGINES: dict[str, Callable[[Work[Any, Any], Iterable[Any], int], Iterator[Any]]] = {
    "serial": serial,
    "processes": processes,
}


class _Worker:
    """A Python process that has imported this package's core and nothing else.

    It is started afresh, not forked, so the threads and locks of an imported app cannot harm it; and without
    `multiprocessing`, which would import this program's main module, and with it the app's framework, again.
    """

    def __init__(self, work: Work[Any, Any]) -> None:
        code = f"import sys; sys.path[:] = {sys.path!r}; from logstatsd.engine import serve; serve()"
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._work: Work[Any, Any] | None = work

    def do(self, task: Any) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        try:
            if self._work:
                _send(stdin, self._work)
                self._work = None
            _send(stdin, task)
            done, result = pickle.load(stdout)  # type: ignore[arg-type]  # noqa: S301
        except (EOFError, OSError, pickle.UnpicklingError):
            raise WorkerError(
                f"{self._how_it_ended()} at {task}; nothing was counted twice, run again"
            ) from None
        if not done:
            raise result
        return result

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"a worker process was killed by {signal.Signals(-code).name} (out of memory?)"
        return f"a worker process ended with exit code {code}"

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                pipe.close()  # type: ignore[union-attr]
            except OSError:  # what was buffered for a dead worker
                continue


def _send(pipe: IO[bytes] | None, item: Any) -> None:
    pickle.dump(item, pipe, pickle.HIGHEST_PROTOCOL)  # type: ignore[arg-type]
    pipe.flush()  # type: ignore[union-attr]


def serve() -> None:
    """Be a worker: read the work, then tasks, from standard input; write results to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    gc.disable()
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        work = pickle.load(requests)  # noqa: S301
        while True:
            task = pickle.load(requests)  # noqa: S301
            try:
                reply = (True, work(task))
            except Exception as error:  # whatever it is, the parent raises it
                reply = (False, error)
            _send(replies, reply)
    except (EOFError, BrokenPipeError):
        return
