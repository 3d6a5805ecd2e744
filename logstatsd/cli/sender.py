"""Sender: Batches on their way from the logs to a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from logstatsd.cli.console import advice
from logstatsd.cli.inputs import load_app
from logstatsd.cli.outcome import ReplayCounts, Telling, conclude
from logstatsd.delivery.encoders import ENCODERS, make_encoder
from logstatsd.errors import FormatError, UndeliveredError
from logstatsd.model.filters import Excluded
from logstatsd.scan.scanner import Scanner

if TYPE_CHECKING:
    from logstatsd.cli.destination import DestinationOptions, MetricOptions
    from logstatsd.cli.options import AppOptions, FormatOptions, RunOptions
    from logstatsd.formats.logformat import LogFormat
    from logstatsd.model.batch import Batch

BATCH_LINES = 10_000
"""Lines to a Batch of a replay: what a crash may send twice."""


@dataclass(frozen=True)
class Request:
    """What a replay was asked for."""

    app: AppOptions
    formats: FormatOptions
    lines: RunOptions
    destination: DestinationOptions
    metrics: MetricOptions
    telling: Telling
    speed: float | None = None

    @property
    def bucket_s(self) -> int:
        """How finely time must be kept, in seconds; 0 for not at all."""
        return ENCODERS[self.metrics.chosen_encoder].bucket_s or (1 if self.speed else 0)


class Sender:
    """Batches on their way to a server: the app, the naming, the sink, and what became of every line.

    Making one loads the app, then looks for the server. Raises AppError, OptionError, UnreachableError.
    """

    def __init__(self, asked: Request, counted: ReplayCounts) -> None:
        self._asked, self.counted = asked, counted
        self.router, self.settler = load_app(asked.app)
        naming = asked.metrics.naming(self.router)
        self.sink = asked.destination.open(dry_run=asked.telling.dry_run)
        encoding = asked.metrics.encoding(asked.speed)
        self._encoder = make_encoder(asked.metrics.chosen_encoder, naming, self.sink, encoding)
        self._excluded = Excluded(asked.lines.exclude)
        self._scanners: dict[LogFormat, Scanner] = {}

    def scan(self, name: str, log_format: LogFormat, data: bytes) -> None:
        """Tally whole lines of the log of that name, and send them. Raises FormatError, UndeliveredError."""
        scanner = self._scanners.get(log_format)
        if scanner is None:
            bucket_s = self._asked.bucket_s
            refuse_untimed(name, log_format, bucket_s)
            scanner = self._scanners[log_format] = Scanner(log_format, self.router, bucket_s=bucket_s)
        self.send(self.settler.settle(scanner.scan(data)))

    def send(self, batch: Batch) -> None:
        """Send a Batch in which every route is decided. Raises UndeliveredError."""
        self.counted.lines.add(batch.counts)
        self.counted.lines.excluded += self._excluded.take_out(batch)
        self._encoder.add(batch)

    def flush(self) -> None:
        """Return once the fate of all that was sent is known. Raises UndeliveredError."""
        self._encoder.flush()

    def finish(self) -> UndeliveredError | None:
        """Send what was held back; returns what went wrong, if anything did."""
        try:
            totals = self._encoder.finish()
        except UndeliveredError as error:
            return error
        return UndeliveredError(f"{self.sink.name}: {totals}") if totals.dropped else None

    def conclude(self) -> None:
        """Say what was sent."""
        conclude(self.counted, self._encoder, self.sink.name, self._asked.telling)

    def close(self) -> None:
        """Let go of the server."""
        self.sink.close()


def refuse_untimed(name: str, log_format: LogFormat, bucket_s: int) -> None:
    """Raise FormatError where a log has no durations, or no times where those are needed."""
    if "duration" not in log_format.chosen:
        raise FormatError(f"{name}: the log has no durations to send; {advice(log_format)}")
    if bucket_s and "time" not in log_format.chosen:
        raise FormatError(f"{name}: the log has no times; leave --speed and --backfill out")
