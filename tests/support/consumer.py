"""A stand-in for `logstatsd replay --resume`: appends a log's lines to a file, then moves the checkpoint.

    python consumer.py LOG CHECKPOINT OUT [--follow]

Its delivery can be counted exactly, so the fault campaign and the tests kill it at will.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from logstatsd.cli.signals import stoppable
from logstatsd.tail.checkpoint import Store
from logstatsd.tail.follow import Control, follow
from logstatsd.tail.resume import resume, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logstatsd.tail.checkpoint import LogState
    from logstatsd.tail.plan import Portion


def say(note: str) -> None:
    print(note, file=sys.stderr, flush=True)


def unread(log: str, state: LogState, *, follows: bool) -> Iterator[Portion | None]:
    if follows:
        with Control() as control, stoppable(control.stop, control.reopen):
            yield from follow({log: state}, control, say)
        return
    with resume(log, state) as plan:
        yield from plan.portions()
    for note in plan.notes:
        say(note)


def main(log: str, checkpoint: str, out: str, *flags: str) -> None:
    with Store(checkpoint, f"file:{out}") as store, Path(out).open("ab", buffering=0) as delivered:
        state = store.checkpoint.logs.get(log)
        if state is None:
            state = start(log)
            store.save(store.checkpoint.with_log(log, state))
        delivered.write(b"\n")  # a killed run may have left half a line
        for portion in unread(log, state, follows="--follow" in flags):
            if portion is None:
                continue
            if portion.chunk.data:
                delivered.write(portion.chunk.data)
                os.fsync(delivered.fileno())
            store.save(store.checkpoint.with_log(portion.log, portion.state))


if __name__ == "__main__":
    main(*sys.argv[1:])
