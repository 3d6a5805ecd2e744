"""Encode Batches as timestamped points of ten seconds each, with the log's own times."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from logstatsd.delivery import dialects
from logstatsd.delivery.encoders.encoder import MAX_SERIES, Encoder, Encoding, Totals
from logstatsd.delivery.naming import safe_name
from logstatsd.errors import OptionError
from logstatsd.model.distribution import Distribution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from logstatsd.delivery.dialects import Halves
    from logstatsd.delivery.naming import Metric, Naming
    from logstatsd.delivery.sink import Sink
    from logstatsd.model.batch import Batch, Series

BUCKET_S = 10
LATE_S = 60
"""How much later than a bucket's end, by the log, its lines may come and still be in its point."""
HISTORY_S = 3600
"""Datadog takes older points only where Historical Metrics Ingestion is on for the metric."""

_BUCKETS_A_DAY = 86_400 // BUCKET_S

POINT_QUANTILES = {".p50": 0.50, ".p95": 0.95, ".p99": 0.99, ".max": 1.0}
POINTS = 1 + len(POINT_QUANTILES)
"""Points of a metric for each ten seconds: the count, and the gauges above."""


class PointEncoder(Encoder):
    """Send count, p50, p95, p99 and max of each metric for each ten seconds of the log, with their time.

    Needs Series with `at_s`, unix seconds. Ten seconds are sent, once and in order, when the log has moved on
    by `LATE_S`. Lines that come even later make a further point, a second on from the one that has been sent:
    a second point of the same second would replace it. As timestamps are DogStatsD's alone, so is this.
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
        self._newest_s = 0
        self._open: dict[int, dict[Metric, Distribution]] = defaultdict(lambda: defaultdict(Distribution))
        # By day: how many points each ten seconds have, in a byte.
        self._parts_sent: dict[int, bytearray] = defaultdict(lambda: bytearray(_BUCKETS_A_DAY))

    def add(self, batch: Batch) -> None:
        self._gather(batch.timings, cpu=False)
        self._gather(batch.cpu, cpu=True)
        self._send_before(self._newest_s - BUCKET_S - LATE_S)

    def time_note(self, now_s: float) -> str | None:  # noqa: ARG002 - each point's age was seen as it was sent
        return history_note(self.totals())

    def finish(self) -> Totals:
        self._send_before(self._newest_s + 1)
        return super().finish()

    def _gather(self, tallies: Mapping[Series, Mapping[Any, int]], *, cpu: bool) -> None:
        for series, durations in tallies.items():
            requests = sum(durations.values())
            untimed = requests if series.at_s is None else durations.get(None, 0)
            self._untimed += 0 if cpu else untimed
            if series.at_s is None or untimed == requests:
                continue
            start_s = series.at_s // BUCKET_S * BUCKET_S
            self._newest_s = max(self._newest_s, start_s)
            for metric in self._known.metrics(series, requests - untimed, cpu=cpu):
                self._open[start_s][metric].add(durations)

    def _send_before(self, end_s: int) -> None:
        """Send the points of all buckets that start before `end_s`."""
        ready = sorted(start_s for start_s in self._open if start_s < end_s)
        buckets = [(start_s, self._open.pop(start_s)) for start_s in ready]
        self._due += POINTS * sum(len(bucket) for _, bucket in buckets)
        with self._counting():
            for start_s, bucket in buckets:
                self._send_bucket(start_s, bucket)

    def _send_bucket(self, start_s: int, bucket: Mapping[Metric, Distribution]) -> None:
        day, number = divmod(start_s // BUCKET_S, _BUCKETS_A_DAY)
        part = self._parts_sent[day][number]
        if part >= BUCKET_S:
            return
        self._parts_sent[day][number] += 1
        self._note_oldest(start_s)
        if self._now() - start_s > HISTORY_S:
            self._historical += POINTS * len(bucket)
        for metric, distribution in bucket.items():
            for halves, value in self._points(metric, distribution, start_s + part):
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
