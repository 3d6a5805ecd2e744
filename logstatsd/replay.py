"""Replay: encode each Batch, hand it to the sink in full datagrams, and count what became of every value."""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from logstatsd import dialects
from logstatsd.errors import OptionError, UndeliveredError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from logstatsd.dialects import Halves
    from logstatsd.naming import Metric, Naming
    from logstatsd.routes import Route
    from logstatsd.scan import Batch, Series
    from logstatsd.sink import Sink

MAX_SERIES = 10_000
_OLD_S = 300
_MEMO_ENTRIES = 100_000


class Totals(NamedTuple):
    """What a replay has done so far, in values; due = sent + dropped + unconfirmed once it is flushed."""

    due: int
    sent: int
    dropped: int
    unconfirmed: int
    untimed: int
    """Requests whose line has no duration."""
    series: int
    """Different metrics (name and tags) that were sent."""
    folded: int
    """Values that went to the overflow metric, since `max_series` were in use."""
    oldest_s: float | None
    """Unix seconds of the oldest request whose values were sent."""
    historical: int = 0
    """Points with a time more than an hour old."""

    def __str__(self) -> str:
        parts = [f"{self.sent:,} of {self.due:,} values delivered"]
        parts += [f"{self.dropped:,} lost"] if self.dropped else []
        parts += [f"{self.unconfirmed:,} unconfirmed"] if self.unconfirmed else []
        return ", ".join(parts)


class Packer:
    """Fill payloads of at most `payload_bytes` with lines; a line that is longer goes alone."""

    def __init__(self, send: Callable[[bytes, int], None], payload_bytes: int, *, pack: bool) -> None:
        self._send = send
        self._payload_bytes = payload_bytes
        self._pack = pack
        self._parts: list[bytes] = []
        self._room = payload_bytes
        self._values = 0

    def put(self, halves: Halves, values: list[bytes]) -> None:
        """Add one metric's values: a line each, or as many to a line as fit where they are packed."""
        head, tail = halves
        frame = len(head) + len(tail)
        longest = max(map(len, values))
        # Between two values stands a colon, or the end of one line and the start of the next.
        between = b":" if self._pack else tail + head
        start = 0
        while start < len(values):
            fit = (self._room - frame + len(between)) // (longest + len(between))
            if fit < 1 and self._parts:
                self.flush()
                continue
            chunk = values[start : start + max(fit, 1)]
            part = head + between.join(chunk) + tail
            self._parts.append(part)
            self._room -= len(part)
            self._values += len(chunk)
            start += len(chunk)

    def flush(self) -> None:
        """Send what has been added, though its payload is not full."""
        if not self._parts:
            return
        payload, values = b"".join(self._parts), self._values
        self._parts.clear()
        self._room, self._values = self._payload_bytes, 0
        self._send(payload, values)


class Sending:
    """What every way of replaying shares: full payloads to a sink, and the count of what became of them."""

    def __init__(self, naming: Naming, sink: Sink, *, pack: bool, max_series: int) -> None:
        self._sink = sink
        self._packer = Packer(sink.send, sink.payload_bytes, pack=pack)
        self._known = Known(naming, max_series)
        self._due = 0
        self._untimed = 0
        self._historical = 0
        self._oldest_s: float | None = None

    def add(self, batch: Batch) -> None:
        """Send a batch's values, but for what does not fill a payload yet. Raises UndeliveredError."""
        raise NotImplementedError

    def flush(self) -> None:
        """Return once the fate of all that was sent is known. Raises UndeliveredError."""
        with self._counting():
            self._packer.flush()
            self._sink.flush()

    def finish(self) -> Totals:
        """Send whatever was held back, flush, and return the totals. Raises UndeliveredError."""
        self.flush()
        return self.totals()

    def totals(self) -> Totals:
        """What was sent so far, and what became of it; whatever is not known to have left is dropped."""
        sent, unconfirmed = self._sink.sent, self._sink.unconfirmed
        return Totals(
            due=self._due,
            sent=sent,
            dropped=self._due - sent - unconfirmed,
            unconfirmed=unconfirmed,
            untimed=self._untimed,
            series=len(self._known),
            folded=self._known.folded,
            oldest_s=self._oldest_s,
            historical=self._historical,
        )

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Add the numbers to an error that stops the delivery."""
        try:
            yield
        except UndeliveredError as error:
            raise UndeliveredError(f"{error}: {self.totals()}") from None

    def _note_oldest(self, at_s: float | None) -> None:
        if at_s is not None:
            self._oldest_s = at_s if self._oldest_s is None else min(self._oldest_s, at_s)


class Replay(Sending):
    """Send the timings of Batches as metrics.

    `wire_type` is timing, histogram or distribution; None for the scheme's own. With `sample_rate`, that
    share of the values is sent, marked with the rate. With `pack`, several values share a line. Beyond
    `max_series` different metrics, values go to one that says `overflow`. `speed` keeps the log's own
    pace, so many times as fast; it needs Series with `at_s`. Raises OptionError for what does not go
    together.
    """

    def __init__(
        self,
        naming: Naming,
        sink: Sink,
        *,
        dialect: str = "dogstatsd",
        wire_type: str | None = None,
        sample_rate: float = 1.0,
        pack: bool = False,
        max_series: int = MAX_SERIES,
        speed: float | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if not 0 < sample_rate <= 1:
            raise OptionError(f"--sample-rate {sample_rate:g}: it is above 0 and at most 1")
        if speed is not None and not speed > 0:
            raise OptionError(f"--speed {speed:g}: it is above 0; 1 is the log's own pace")
        wire_type = wire_type or naming.wire_type
        dialects.check(dialect, wire_type, naming.unit, pack=pack)
        super().__init__(naming, sink, pack=pack, max_series=max_series)
        self._encode = dialects.DIALECTS[dialect].encode
        self._letters = dialects.WIRE_TYPES[wire_type]
        self._sample_rate = sample_rate
        self._chance = chance
        self._clock = LogClock(speed) if speed else None
        self._written = _Memo(dialects.FORMATS[naming.unit])
        self._encoded: dict[Metric, Halves] = {}

    def add(self, batch: Batch) -> None:
        work = [*self._work(batch.timings, cpu=False), *self._work(batch.cpu, cpu=True)]
        if work:
            self._due += sum(len(item.values) for item in work)
            self._note_oldest(batch.first_s)
        with self._counting():
            if self._clock is None:
                self._put(work)
            else:
                self._put_in_time(work, self._clock)

    def _work(self, tallies: Mapping[Series, Mapping[Any, int]], *, cpu: bool) -> Iterator[_Work]:
        """Each metric of each series, with its values as they are written."""
        for series, durations in tallies.items():
            if not cpu:
                self._untimed += durations.get(None, 0)
            if values := self._values(durations):
                for metric in self._known.metrics(series, len(values), cpu=cpu):
                    yield _Work(series.at_s or 0, self._halves(metric), values)

    def _halves(self, metric: Metric) -> Halves:
        halves = self._encoded.get(metric)
        if halves is None:
            tagged = metric._replace(tags=metric.tags + self._sink.constant_tags)
            halves = self._encode(tagged, self._letters, self._sample_rate, None)
            self._encoded[metric] = halves
        return halves

    def _values(self, durations: Mapping[Any, int]) -> list[bytes]:
        """Each duration as text, as often as it occurs and sampling leaves it."""
        written = self._written
        values = [
            text
            for duration_us, count in durations.items()
            if duration_us is not None
            for text in (written[duration_us],) * count
        ]
        if self._sample_rate == 1:
            return values
        return [text for text in values if self._chance() < self._sample_rate]

    def _put(self, work: Iterable[_Work]) -> None:
        for item in work:
            self._packer.put(item.halves, item.values)

    def _put_in_time(self, work: list[_Work], clock: LogClock) -> None:
        """Send each second of the log when its time has come."""
        at_s = attrgetter("at_s")
        for second, items in groupby(sorted(work, key=at_s), at_s):
            clock.wait_until(second)
            self._put(items)
            self._packer.flush()


class _Work(NamedTuple):
    at_s: int
    halves: Halves
    values: list[bytes]


class Known:
    """The metrics in use, named once for each label; beyond `max_series`, the one that says `overflow`."""

    def __init__(self, naming: Naming, max_series: int) -> None:
        self._naming = naming
        self._max_series = max_series
        self._labels: dict[tuple[Route, str, int, bool], tuple[Metric, ...]] = {}
        self._metrics: set[Metric] = set()
        self.folded = 0

    def __len__(self) -> int:
        return len(self._metrics) + (self.folded > 0)

    def metrics(self, series: Series, values: int, *, cpu: bool) -> tuple[Metric, ...]:
        """The metrics that so many values of a series go to."""
        label = (series.route, series.method, series.status, cpu)
        known = self._labels.get(label)
        if known is not None:
            return known
        metrics = self._naming.metrics(series.route, series.method, series.status, cpu)
        if len(self._metrics) + len({*metrics} - self._metrics) > self._max_series:
            self.folded += values
            return (self._naming.overflow(cpu),)
        self._metrics.update(metrics)
        self._labels[label] = metrics
        return metrics


class _Memo(dict[int, bytes]):
    """Durations as text, remembered: a log repeats them."""

    def __init__(self, write: Callable[[int], bytes]) -> None:
        super().__init__()
        self._write = write

    def __missing__(self, duration_us: int) -> bytes:
        if len(self) >= _MEMO_ENTRIES:
            self.clear()
        text = self[duration_us] = self._write(duration_us)
        return text


class LogClock:
    """The log's own time, `speed` times as fast, from the first moment that is waited for."""

    def __init__(
        self,
        speed: float,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._speed = speed
        self._now = now
        self._sleep = sleep
        self._start: tuple[float, float] | None = None

    def wait_until(self, at_s: float) -> None:
        """Return when the log's clock has reached `at_s`; at once where it has passed."""
        if self._start is None:
            self._start = (at_s, self._now())
        first_s, started_s = self._start
        wait_s = started_s + (at_s - first_s) / self._speed - self._now()
        if wait_s > 0:
            self._sleep(wait_s)


def time_note(oldest_s: float | None, now_s: float) -> str | None:
    """What to tell a person about the time at which old timings landed; None where they were recent."""
    if oldest_s is None or now_s - oldest_s <= _OLD_S:
        return None
    age = str(timedelta(seconds=int(now_s - oldest_s)))
    return (
        f"StatsD timings carry no time of their own and land when they are sent; the oldest was {age} old. "
        "To see the log's own times, use --backfill (points with timestamps) or --speed (the log's own pace)."
    )
