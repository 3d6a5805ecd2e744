"""A worker process: reads work and tasks from standard input, writes results to standard output."""

from __future__ import annotations

import gc
import os
import pickle
import sys
from typing import IO, Any


def send(pipe: IO[bytes] | None, item: Any) -> None:
    """Write one pickled item to a pipe, at once."""
    pickle.dump(item, pipe, pickle.HIGHEST_PROTOCOL)  # type: ignore[arg-type]
    pipe.flush()  # type: ignore[union-attr]


def serve() -> None:
    """Be a worker: read the work, then tasks, from standard input; write results to standard output."""
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
            send(replies, reply)
    except (EOFError, BrokenPipeError):
        return
