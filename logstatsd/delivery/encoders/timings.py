"""Encode the timings of Batches, each as a StatsD line."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from logstatsd.delivery import dialects
from logstatsd.delivery.encoders.encoder import MAX_SERIES, Encoder, Encoding
from logstatsd.delivery.encoders.log_time import is_plausible
from logstatsd.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from logstatsd.delivery.dialects import Halves
    from logstatsd.delivery.naming import Metric, Naming
    from logstatsd.delivery.sink import Sink
    from logstatsd.model.batch import Batch, Series

_OLD_S = 300
_MEMO_ENTRIES = 100_000
_LONGEST_SLEEP_S = 3_600.0
"""The system refuses to sleep for centuries, which a slow pace may ask for."""


class TimingEncoder(Encoder):
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
        dialects.check_dialect(dialect, wire_type, naming.unit, pack=pack)
        super().__init__(naming, sink, pack=pack, max_series=max_series)
        self._encode = dialects.DIALECTS[dialect].encode
        self._letters = dialects.WIRE_TYPES[wire_type]
        self._sample_rate = sample_rate
        self._chance = chance
        self._clock = LogClock(speed) if speed else None
        self._written = _Memo(dialects.UNIT_WRITERS[naming.unit])
        self._encoded: dict[Metric, Halves] = {}

    def add(self, batch: Batch) -> None:
        work = [*self._work(batch.timings, cpu=False), *self._work(batch.cpu, cpu=True)]
        if work:
            self._due += sum(len(item.values) for item in work)
            self._note_oldest(batch.period.first_s)
        with self._counting():
            if self._clock is None:
                self._put(work)
            else:
                self._put_in_time(work, self._clock)

    def time_note(self, now_s: float) -> str | None:
        return None if self._clock else time_note(self._oldest_s, now_s)

    def _work(self, tallies: Mapping[Series, Mapping[Any, int]], *, cpu: bool) -> Iterator[_Work]:
        """Each metric of each series, with its values as they are written."""
        for series, durations in tallies.items():
            if not cpu:
                self._untimed += durations.get(None, 0)
            if values := self._values(durations):
                for metric in self._known.metrics(series, len(values), cpu=cpu):
                    yield _Work(series.at_s, self._halves(metric), values)

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
        """Send each second of the log when its time has come; what has no time, or an absurd one, at once."""
        now_s, placed, at_once = time.time(), defaultdict[int, list[_Work]](list), list[_Work]()
        for item in work:
            if item.at_s is None or not is_plausible(item.at_s, now_s):
                at_once.append(item)
            else:
                placed[item.at_s].append(item)
        self._put(at_once)
        self._packer.flush()
        for at_s in sorted(placed):
            clock.wait_until(at_s)
            self._put(placed[at_s])
            self._packer.flush()


def make(naming: Naming, sink: Sink, encoding: Encoding) -> TimingEncoder:
    """Make the encoder, as ENCODERS asks for it. Raises OptionError."""
    return TimingEncoder(naming, sink, **asdict(encoding))


class _Work(NamedTuple):
    at_s: int | None
    halves: Halves
    values: list[bytes]


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
        until_s = started_s + (at_s - first_s) / self._speed
        while (wait_s := until_s - self._now()) > 0:
            self._sleep(min(wait_s, _LONGEST_SLEEP_S))


def time_note(oldest_s: float | None, now_s: float) -> str | None:
    """Tell a person about the time at which old timings landed; None where they were recent."""
    if oldest_s is None or now_s - oldest_s <= _OLD_S:
        return None
    age = str(timedelta(seconds=int(now_s - oldest_s)))
    return (
        f"StatsD timings carry no time of their own and land when they are sent; the oldest was {age} old. "
        "To see the log's own times, use --backfill (points with timestamps) or --speed (the log's own pace)."
    )
