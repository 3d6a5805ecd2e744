"""Encoder: the base of every form of sending, with full payloads to a sink and a count of every value."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.errors import UndeliveredError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from logstatsd.delivery.dialects import Halves
    from logstatsd.delivery.naming import Metric, Naming
    from logstatsd.delivery.sink import Sink
    from logstatsd.model.batch import Batch, Series
    from logstatsd.model.route import Route

MAX_SERIES = 10_000


@dataclass(frozen=True)
class Encoding:
    """The choices of an encoder; see `TimingEncoder` for what each means."""

    dialect: str = "dogstatsd"
    wire_type: str | None = None
    sample_rate: float = 1.0
    pack: bool = False
    max_series: int = MAX_SERIES
    speed: float | None = None


class Totals(NamedTuple):
    """The values of a replay so far; due = sent + dropped + unconfirmed once it is flushed."""

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
    unanswered: int = 0
    """Of the unconfirmed, those that a connection could have confirmed, and did not."""
    undated: int = 0
    """Requests left out since their line has no time that can be read."""
    misdated: int = 0
    """Requests left out since their line is dated in the future, or absurdly early."""
    too_late: int = 0
    """Requests left out since their line came when no second of its ten was left for another point."""

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


class Encoder:
    """The base of every form of sending: full payloads to a sink, and a count of what became of them."""

    noun = "timings"
    """What it sends, in words."""

    def __init__(self, naming: Naming, sink: Sink, *, pack: bool, max_series: int) -> None:
        self._sink = sink
        self._packer = Packer(sink.send, sink.payload_bytes, pack=pack)
        self._known = SeriesRegistry(naming, max_series)
        self._due = 0
        self._untimed = 0
        self._historical = 0
        self._left_out: Counter[str] = Counter()
        self._oldest_s: float | None = None

    def add(self, batch: Batch) -> None:
        """Send a batch's values, but for what does not fill a payload yet. Raises UndeliveredError."""
        raise NotImplementedError

    def time_note(self, now_s: float) -> str | None:
        """Tell a person about the times at which the values land; None for nothing."""
        raise NotImplementedError

    def flush(self) -> None:
        """Return once the fate of all that was sent is known. Raises UndeliveredError."""
        with self._counting():
            self._packer.flush()
            self._sink.flush()
            self._sink.refuse_unanswered()

    def finish(self) -> Totals:
        """Send whatever was held back, flush, and return the totals. Raises UndeliveredError."""
        self.flush()
        return self.totals()

    def abandon(self) -> None:
        """Count what is in flight, as far as its fate is known now; nothing more is sent."""
        self._sink.abandon()

    def totals(self) -> Totals:
        """Count what became of all that was due so far; whatever is not known to have left is dropped."""
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
            unanswered=self._sink.ledger.unanswered,
            **self._left_out,
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


class SeriesRegistry:
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
