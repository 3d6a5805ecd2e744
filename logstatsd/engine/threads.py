"""Threads of this process, for work that lets the interpreter go, and the order of their results."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def run(work: Callable[[_Task], _Result], tasks: Iterable[_Task], jobs: int) -> Iterator[_Result]:
    """Do the tasks in `jobs` threads; results come in order. Raises what `work` or `tasks` raise."""
    threads = ThreadPoolExecutor(jobs)
    try:
        yield from in_order(lambda task: threads.submit(work, task), tasks, jobs)
    finally:
        threads.shutdown(cancel_futures=True)


def in_order(
    submit: Callable[[_Task], Future[_Result]], tasks: Iterable[_Task], jobs: int
) -> Iterator[_Result]:
    """Submit tasks from a thread, at most 2 x `jobs` ahead of the results, which come in order.

    A result is passed on once it is there, even while the next task is long in coming, as from a pipe.
    """
    under_way: SimpleQueue[Future[_Result] | None] = SimpleQueue()
    room = Semaphore(2 * jobs)
    over = Event()

    def feed() -> None:
        try:
            room.acquire()
            for task in tasks:
                if over.is_set():
                    return
                under_way.put(submit(task))
                room.acquire()  # before the next task is read, which may hold a chunk's bytes
        except BaseException as error:  # the reader's to raise
            failed: Future[_Result] = Future()
            failed.set_exception(error)
            under_way.put(failed)
        under_way.put(None)

    Thread(target=feed, daemon=True).start()
    try:
        while future := under_way.get():
            result = future.result()
            room.release()
            yield result
    finally:
        over.set()
        room.release()
