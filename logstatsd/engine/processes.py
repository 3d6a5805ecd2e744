"""Worker processes that import this package's core and nothing else, and the order of their results."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock, local
from typing import TYPE_CHECKING, Any, TypeVar

from logstatsd.engine.threads import in_order
from logstatsd.engine.worker import send
from logstatsd.errors import LogstatsdError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


class WorkerError(LogstatsdError):
    """A worker process ended before its work was done."""


def run(work: Callable[[_Task], _Result], tasks: Iterable[_Task], jobs: int) -> Iterator[_Result]:
    """Do the tasks in `jobs` worker processes; results come in order, at most 2 x `jobs` are under way.

    `work`, tasks and results are pickled; `work` once per worker. An exception that `work` or `tasks` raises
    is raised here. Raises WorkerError, naming the task, when a worker dies.
    """
    pool = _Pool(work, jobs)
    try:
        yield from in_order(pool.submit, tasks, jobs)
    finally:
        pool.end()


class _Pool:
    """Threads, started as tasks come, each of which serves a worker process of its own."""

    def __init__(self, work: Callable[[Any], Any], jobs: int) -> None:
        self._work = work
        self._threads = ThreadPoolExecutor(jobs)
        self._mine = local()
        self._workers: list[_Worker] = []
        self._starting = Lock()
        self._over = False

    def submit(self, task: Any) -> Future[Any]:
        return self._threads.submit(self._run, task)

    def _run(self, task: Any) -> Any:
        if not hasattr(self._mine, "worker"):
            with self._starting:
                if self._over:
                    raise WorkerError("the run is over")
                self._mine.worker = _Worker(self._work)
                self._workers.append(self._mine.worker)
        return self._mine.worker.do(task)

    def end(self) -> None:
        """End the workers, whatever they are at."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._starting:
            self._over = True
        for worker in self._workers:
            worker.end()
        self._threads.shutdown()


class _Worker:
    """A Python process that has imported this package's core and nothing else.

    It is started afresh, not forked, so the threads and locks of an imported app cannot harm it; and without
    `multiprocessing`, which would import this program's main module, and with it the app's framework, again.
    """

    def __init__(self, work: Callable[[Any], Any]) -> None:
        # Python's own library stays first, whatever stands beside an app; ours is found last, if not before
        path = [*sys.path, str(Path(__file__).parent.parent.parent)]
        code = (
            f"import sys; sys.path += [each for each in {path!r} if each not in sys.path];"
            " from logstatsd.engine.worker import serve; serve()"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # Ctrl-C is this process's to handle
        )
        self._work: Callable[[Any], Any] | None = work

    def do(self, task: Any) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        try:
            if self._work:
                send(stdin, self._work)
                self._work = None
            send(stdin, task)
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
