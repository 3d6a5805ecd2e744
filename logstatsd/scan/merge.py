"""Several logs as one stream of Batches in the order of their times, as they were written side by side."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from logstatsd.model.batch import Batch
from logstatsd.model.line_counts import Period
from logstatsd.scan.stretches import Stretches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logstatsd.scan.run import Piece, Run

LONG_AGO = float("-inf")


def in_time(run: Run) -> Iterator[Piece]:
    """The pieces of the run's logs, cut by its buckets of time and merged.

    A log is opened when its time comes. Lines of one log that are out of order stay so. Raises InputError.
    """
    logs = [log for log in run.logs if not log.is_empty]
    waiting = deque(sorted(logs, key=lambda log: LONG_AGO if log.first_s is None else log.first_s))
    heads: list[tuple[float, int, Piece, Iterator[Piece]]] = []

    def advance(number: int, stream: Iterator[Piece]) -> None:
        if piece := next(stream, None):
            heapq.heappush(heads, (_start_s(piece.batch), number, piece, stream))

    while waiting or heads:
        while waiting and (not heads or (waiting[0].first_s or LONG_AGO) - run.bucket_s <= heads[0][0]):
            # One process reads them all: what takes long here is the waiting, or the sending.
            alone = replace(run, logs=[waiting.popleft()], jobs=1, ordered=True)
            advance(len(waiting), _cut(alone.pieces()))
        if heads:
            _, number, piece, stream = heapq.heappop(heads)
            yield piece
            advance(number, stream)


def _cut(pieces: Iterator[Piece]) -> Iterator[Piece]:
    for piece in pieces:
        for n, batch in enumerate(by_bucket(piece.batch)):
            yield piece._replace(batch=batch, stretches=Stretches() if n else piece.stretches)


def by_bucket(batch: Batch) -> list[Batch]:
    """A Batch for each bucket of time, in order; what is counted by line alone goes with the first."""
    names = ("timings", "cpu", "pending", "pending_cpu")
    moments = {series.at_s for name in names for series in getattr(batch, name)}
    buckets = {
        at_s: Batch(period=Period(at_s)) for at_s in sorted(moments, key=lambda at_s: at_s or LONG_AGO)
    }
    for name in names:
        for series, durations in getattr(batch, name).items():
            getattr(buckets[series.at_s], name)[series] = durations
    first = next(iter(buckets.values()), batch)
    first.counts, first.period = batch.counts, batch.period
    return [*buckets.values()] or [batch]


def _start_s(batch: Batch) -> float:
    moments = [series.at_s for series in batch.timings] + [series.at_s for series in batch.pending]
    return min(filter(None, moments), default=LONG_AGO)
