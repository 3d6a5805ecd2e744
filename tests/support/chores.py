"""Work for worker processes to do in tests; like all that they import, it imports little."""

from __future__ import annotations

import os
import signal
import sys
import time


def double(task: int) -> int:
    return 2 * task


def early_ones_late(task: int) -> int:
    """The lower the number, the longer it takes: results are there in the wrong order."""
    time.sleep(0.02 if task % 2 == 0 else 0)
    return task


def pid(_: object) -> int:
    return os.getpid()


def group(_: object) -> int:
    return os.getpgrp()


def modules(_: object) -> list[str]:
    """List what has been imported where this runs."""
    return sorted(sys.modules)


def refuse_three(task: int) -> int:
    if task == 3:
        raise ValueError(f"{task} is refused")
    return task


def killed_at_three(task: int) -> int:
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def killed(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def exits_at_three(task: int) -> int:
    if task == 3:
        os._exit(7)
    return task


def chatter(task: int) -> int:
    """Print to where a worker's results go, in both ways there are."""
    print("chatter", flush=True)
    os.write(1, b"chatter\n")
    return task


def for_ever(_: object) -> None:
    time.sleep(3600)
