"""What `replay` does: from logs to a sink."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from logstatsd.cli.console import account, advice
from logstatsd.cli.inputs import load_app, nothing_fits, open_run, tallies
from logstatsd.cli.outcome import ReplayCounts, conclude
from logstatsd.delivery.encoders.timings import TimingEncoder
from logstatsd.errors import FormatError, OptionError, UndeliveredError
from logstatsd.model.filters import Excluded
from logstatsd.scan.scanner import Scanner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logstatsd.delivery.encoders.encoder import Encoder
    from logstatsd.delivery.naming import Naming
    from logstatsd.delivery.sink import Sink
    from logstatsd.formats.logformat import LogFormat
    from logstatsd.model.batch import Batch
    from logstatsd.routing.router import Router
    from logstatsd.scan.run import Piece, Run

BATCH_LINES = 10_000
"""Lines to a Batch of a replay: what a crash may send twice."""


class Sender:
    """Batches on their way to a server: the app, the naming, the sink, and what became of every line.

    Making one loads the app, then looks for the server. Raises AppError, OptionError, UnreachableError.
    """

    def __init__(self, given: dict[str, Any], counted: ReplayCounts) -> None:
        self.given, self.counted = given, counted
        self.router, self.settler = load_app(given)
        naming = naming_of(given, self.router)
        self.sink = open_destination(given)
        self._sending = sending_to(self.sink, naming, given)
        self._excluded = Excluded(given["exclude"])
        self._scanners: dict[LogFormat, Scanner] = {}

    def scan(self, name: str, log_format: LogFormat, data: bytes) -> None:
        """Tally whole lines of the log of that name, and send them. Raises FormatError, UndeliveredError."""
        scanner = self._scanners.get(log_format)
        if scanner is None:
            refuse_untimed(name, log_format, bucket_s(self.given))
            scanner = Scanner(log_format, self.router, bucket_s=bucket_s(self.given))
            self._scanners[log_format] = scanner
        self.send(self.settler.settle(scanner.scan(data)))

    def send(self, batch: Batch) -> None:
        """Send a Batch in which every route is decided. Raises UndeliveredError."""
        self.counted.add(batch)
        self.counted.excluded += self._excluded.take_out(batch)
        self._sending.add(batch)

    def flush(self) -> None:
        """Return once the fate of all that was sent is known. Raises UndeliveredError."""
        self._sending.flush()

    def finish(self) -> UndeliveredError | None:
        """Send what was held back; returns what went wrong, if anything did."""
        try:
            totals = self._sending.finish()
        except UndeliveredError as error:
            return error
        return UndeliveredError(f"{self.sink.name}: {totals}") if totals.dropped else None

    def conclude(self) -> None:
        """Say what was sent."""
        conclude(self.counted, self._sending.totals(), self.sink.name, self.given)

    def close(self) -> None:
        self.sink.close()


def replay_once(paths: tuple[str, ...], given: dict[str, Any]) -> None:
    """Send what the logs hold. Raises UnreachableError, UndeliveredError and all that reading them may."""
    counted = ReplayCounts()
    sender = Sender(given, counted)
    failure: UndeliveredError | None = None
    try:
        run = open_run(paths, sender.router, given, lines=BATCH_LINES, bucket_s=bucket_s(given))
        for log in run.logs:
            if log.detected:
                refuse_untimed(log.source.name, log.log_format, run.bucket_s)
        quiet = given["quiet"] or given["dry_run"]
        try:
            for piece in tallies(run, sender.settler, quiet=quiet, pieces=_pieces(run)):
                sender.send(piece.batch)
        except UndeliveredError as error:
            failure = error
        except KeyboardInterrupt:  # or SIGTERM
            sender.conclude()
            raise
        failure = sender.finish() if failure is None else failure
    finally:
        sender.close()
    nothing_fits(run, counted.lines, counted.parsed, counted.outside, counted.samples)
    if not given["quiet"]:
        account(run, sender.settler, counted.rejected, counted.samples, counted.lines)
    sender.conclude()
    if failure:
        raise failure


def _pieces(run: Run) -> Iterator[Piece]:
    """One log after the other; where time matters, as they were written side by side."""
    if not run.bucket_s or len(run.logs) == 1:
        return run.pieces()
    from logstatsd.scan.merge import in_time  # noqa: PLC0415

    return in_time(run)


def naming_of(given: dict[str, Any], router: Router) -> Naming:
    """Names and tags for the app. Raises OptionError."""
    from logstatsd.delivery.naming import Naming  # noqa: PLC0415

    return Naming(
        app_name=given["app_name"] or router.app_name,
        scheme=given["scheme"],
        prefix=given["prefix"],
        tags=given["tags"],
        per_endpoint=given["per_endpoint"],
    )


def open_destination(given: dict[str, Any]) -> Sink:
    """Connect to where the metrics go. Raises UnreachableError, OptionError."""
    from logstatsd.delivery.sink import open_file_sink, open_sink  # noqa: PLC0415

    if given["dry_run"]:
        return open_file_sink(sys.stdout.buffer)
    return open_sink(
        given["host"],
        given["port"],
        given["socket"],
        tcp=given["tcp"],
        rate=given["rate"],
        timeout_s=given["timeout"],
    )


def sending_to(sink: Sink, naming: Naming, given: dict[str, Any]) -> Encoder:
    """What encodes Batches for the sink: timings, or with --backfill points with a time of their own."""
    if given["backfill"]:
        from logstatsd.delivery.encoders.points import PointEncoder  # noqa: PLC0415

        for name in ("speed", "pack", "type"):
            if given[name]:
                raise OptionError(f"--backfill and --{name}: give one of them")
        if given["dialect"] != "dogstatsd" or given["sample_rate"] != 1:
            raise OptionError("--backfill: points with a time are DogStatsD's alone, and are never sampled")
        return PointEncoder(naming, sink, max_series=given["max_series"])

    return TimingEncoder(
        naming,
        sink,
        dialect=given["dialect"],
        wire_type=given["type"],
        sample_rate=given["sample_rate"],
        pack=given["pack"],
        max_series=given["max_series"],
        speed=given["speed"],
    )


def bucket_s(given: dict[str, Any]) -> int:
    """How finely time must be kept, in seconds; 0 for not at all."""
    return 10 if given["backfill"] else 1 if given["speed"] else 0


def refuse_untimed(name: str, log_format: LogFormat, bucket_s: int) -> None:
    """Raise FormatError where a log has no durations, or no times where those are needed."""
    if "duration" not in log_format.chosen:
        raise FormatError(f"{name}: the log has no durations to send; {advice(log_format)}")
    if bucket_s and "time" not in log_format.chosen:
        raise FormatError(f"{name}: the log has no times; leave --speed and --backfill out")
