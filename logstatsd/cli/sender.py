"""Sender: Batches on their way from the logs to a server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from logstatsd.cli.heartbeat import Pulse
from logstatsd.cli.inputs import load_app
from logstatsd.cli.labelling import Outcomes
from logstatsd.cli.log_scanners import LogScanners
from logstatsd.delivery.encoders import make_encoder
from logstatsd.delivery.self_metrics import SelfMetrics
from logstatsd.errors import FormatError, UndeliveredError
from logstatsd.formats.duration_advice import duration_advice
from logstatsd.model.filters import Excluded

if TYPE_CHECKING:
    from logstatsd.cli.outcome import ReplayCounts
    from logstatsd.cli.request import Request
    from logstatsd.formats.logformat import LogFormat
    from logstatsd.model.batch import Batch
    from logstatsd.scan.stretches import FormatChanges


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
        self.encoder = make_encoder(asked.metrics.chosen_encoder, naming, self.sink, encoding)
        self._excluded = Excluded(asked.lines.exclude)
        self._scanners = LogScanners(
            self.router, asked.formats, scanner=asked.lines.chosen_scanner,
            bucket_s=asked.bucket_s, quiet=asked.telling.quiet,
        )  # fmt: skip
        self._self_metrics = SelfMetrics(asked.metrics.dialect, self.sink.constant_tags)
        self.outcomes = Outcomes()
        self.lag_s: float | None = None
        """How old the newest request was when its timing was sent."""

    def scan(self, log: str, data: bytes, offset: int, known: LogFormat | None) -> Batch:
        """Tally the next whole lines of a log, which begin at byte `offset`. Raises FormatError."""
        return self.settler.settle(self._scanners.scan(log, data, offset, known))

    def format_of(self, log: str) -> LogFormat | None:
        """The format of a log's last line that fitted one."""
        return self._scanners.changes.current(log)

    def send(self, batch: Batch) -> None:
        """Send a Batch in which every route is decided. Raises UndeliveredError."""
        self.counted.lines.add(batch.counts)
        self.counted.lines.excluded += self._excluded.take_out(batch)
        self.outcomes.add(batch)
        self.encoder.add(batch)
        if batch.period.last_s is not None:
            self.lag_s = time.time() - batch.period.last_s

    @property
    def pulse(self) -> Pulse:
        """How far it has come."""
        return Pulse(self.counted.lines, self.encoder.totals(), self.lag_s)

    def send_self_metrics(self, pulse: Pulse) -> None:
        """Send what has come since the last time, as metrics about itself; they count as no timings."""
        if payload := self._self_metrics.payload(*pulse):
            self.sink.send(payload, 0)

    def flush(self) -> None:
        """Return once the fate of all that was sent is known. Raises UndeliveredError."""
        self.encoder.flush()

    def finish(self) -> UndeliveredError | None:
        """Send what was held back; returns what went wrong, if anything did."""
        try:
            totals = self.encoder.finish()
        except UndeliveredError as error:
            return error
        return UndeliveredError(f"{self.sink.name}: {totals}") if totals.dropped else None

    def refuse_untimed(self) -> None:
        """Raise FormatError for a log of which no stretch has durations."""
        refuse_untimed(self._scanners.changes)

    def close(self) -> None:
        """Let go of the server."""
        self.sink.close()


def refuse_undated(name: str, log_format: LogFormat, bucket_s: int) -> None:
    """Raise FormatError where a log has no times, and they are needed."""
    if bucket_s and "time" not in log_format.chosen:
        raise FormatError(f"{name}: the log has no times; leave --speed and --backfill out")


def refuse_untimed(changes: FormatChanges) -> None:
    """Raise FormatError for a log of which no stretch has durations."""
    for log, formats in changes.by_log.items():
        if not any("duration" in log_format.chosen for log_format in formats):
            raise FormatError(f"{log}: the log has no durations to send; {duration_advice(formats[0])}")
