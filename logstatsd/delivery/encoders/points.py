"""Encode Batches as timestamped points of ten seconds each, with the log's own times."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from logstatsd.delivery import dialects
from logstatsd.delivery.encoders.encoder import MAX_SERIES, Encoder, Encoding, Totals
from logstatsd.delivery.encoders.log_time import BUCKET_S, LogProgress, SecondsTaken, is_plausible
from logstatsd.delivery.naming import safe_name
from logstatsd.errors import OptionError
from logstatsd.model.distribution import Distribution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from logstatsd.delivery.dialects import Halves
    from logstatsd.delivery.naming import Metric, Naming
    from logstatsd.delivery.sink import Sink
    from logstatsd.model.batch import Batch, Series

LATE_S = 60
"""How much later than a bucket's end, by the log, its lines may come and still be in its point."""
HISTORY_S = 3600
"""Datadog takes older points only where Historical Metrics Ingestion is on for the metric."""

MOST_OPEN = 4_096
"""How many ten seconds may wait for more lines: what bounds the memory of a log whose dates are wild."""

POINT_QUANTILES = {".p50": 0.50, ".p95": 0.95, ".p99": 0.99, ".max": 1.0}
POINTS = 1 + len(POINT_QUANTILES)
"""Points of a metric for each ten seconds: the count, and the gauges above."""


@dataclass(slots=True)
class _Bucket:
    """Ten seconds of the log: how many requests, and the durations of each metric."""

    requests: int = 0
    metrics: dict[Metric, Distribution] = field(default_factory=lambda: defaultdict(Distribution))


class PointEncoder(Encoder):
    """Send count, p50, p95, p99 and max of each metric for each ten seconds of the log, with their time.

    Needs Series with `at_s`, unix seconds. Ten seconds are sent, once and in order, when the log has moved on
    by `LATE_S`. Lines that come even later make a further point, a second on from the one that has been sent:
    a second point of the same second would replace it. What has no time, an absurd one, or no second left is
    counted and left out. As timestamps are DogStatsD's alone, so is this.
    """

    noun = "points"

    def __init__(
        self,
        naming: Naming,
        sink: Sink,
        *,
        max_series: int = MAX_SERIES,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(naming, sink, pack=False, max_series=max_series)
        self._write = dialects.UNIT_WRITERS[naming.unit]
        self._now = now
        self._progress = LogProgress()
        self._open: dict[int, _Bucket] = defaultdict(_Bucket)
        self._taken = SecondsTaken()

    def add(self, batch: Batch) -> None:
        seen: Counter[int] = Counter()
        self._gather(batch.timings, seen, cpu=False)
        self._gather(batch.cpu, seen, cpu=True)
        self._progress.see(seen)
        if self._progress.newest_s is not None:
            self._send_before(self._progress.newest_s - BUCKET_S - LATE_S)
        if len(self._open) > MOST_OPEN:
            self._send_before(sorted(self._open)[-MOST_OPEN])

    def time_note(self, now_s: float) -> str | None:  # noqa: ARG002 - each point's age was seen as it was sent
        return history_note(self.totals())

    def finish(self) -> Totals:
        self._send_before(max(self._open, default=0) + 1)
        return super().finish()

    def _gather(self, tallies: Mapping[Series, Mapping[Any, int]], seen: Counter[int], *, cpu: bool) -> None:
        now_s = self._now()
        for series, durations in tallies.items():
            untimed = durations.get(None, 0)
            requests = sum(durations.values()) - untimed
            self._untimed += 0 if cpu else untimed
            if not requests:
                continue
            if series.at_s is None or not is_plausible(series.at_s, now_s):
                if not cpu:
                    self._left_out["undated" if series.at_s is None else "misdated"] += requests
                continue
            start_s = series.at_s // BUCKET_S * BUCKET_S
            seen[start_s] += requests
            bucket = self._open[start_s]
            bucket.requests += 0 if cpu else requests
            for metric in self._known.metrics(series, requests, cpu=cpu):
                bucket.metrics[metric].add(durations)

    def _send_before(self, end_s: int) -> None:
        """Send the points of all buckets that start before `end_s`."""
        ready = sorted(start_s for start_s in self._open if start_s < end_s)
        buckets = [(start_s, self._open.pop(start_s)) for start_s in ready]
        self._due += POINTS * sum(len(bucket.metrics) for _, bucket in buckets)
        with self._counting():
            for start_s, bucket in buckets:
                self._send_bucket(start_s, bucket)

    def _send_bucket(self, start_s: int, bucket: _Bucket) -> None:
        at_s = self._taken.take(start_s)
        if at_s is None:
            self._left_out["too_late"] += bucket.requests
            return
        self._note_oldest(start_s)
        if self._now() - start_s > HISTORY_S:
            self._historical += POINTS * len(bucket.metrics)
        for metric, distribution in bucket.metrics.items():
            for halves, value in self._points(metric, distribution, at_s):
                self._packer.put(halves, [value])

    def _points(self, metric: Metric, wall: Distribution, at_s: int) -> Iterator[tuple[Halves, bytes]]:
        tags = metric.tags + self._sink.constant_tags
        named = metric._replace(name=safe_name(metric.name, ".count"), tags=tags)
        yield dialects.dogstatsd(named, "c", timestamp=at_s), str(wall.count).encode()
        values_us = wall.quantiles([*POINT_QUANTILES.values()])
        for suffix, value_us in zip(POINT_QUANTILES, values_us, strict=True):
            assert value_us is not None, "a distribution is made for a duration"
            named = metric._replace(name=safe_name(metric.name, suffix), tags=tags)
            yield dialects.dogstatsd(named, "g", timestamp=at_s), self._write(value_us)


def make(naming: Naming, sink: Sink, encoding: Encoding) -> PointEncoder:
    """Make the encoder, as ENCODERS asks for it. Raises OptionError."""
    for name, given in (("speed", encoding.speed), ("pack", encoding.pack), ("type", encoding.wire_type)):
        if given:
            raise OptionError(f"--backfill and --{name}: give one of them")
    if encoding.dialect != "dogstatsd" or encoding.sample_rate != 1:
        raise OptionError("--backfill: points with a time are DogStatsD's alone, and are never sampled")
    return PointEncoder(naming, sink, max_series=encoding.max_series)


def history_note(totals: Totals) -> str | None:
    """Tell a person about points that Datadog may not take; None where there are none."""
    if not totals.historical:
        return None
    return (
        f"{totals.historical:,} of the points are more than an hour old: Datadog keeps those only of metrics "
        "with Historical Metrics Ingestion switched on."
    )
