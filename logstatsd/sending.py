"""What `replay` does: from logs to a sink, and the account of every value."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from logstatsd.errors import FormatError, OptionError, UndeliveredError
from logstatsd.options import say
from logstatsd.session import account, advice, load_app, nothing_fits, open_run, tallies
from logstatsd.summary import Excluded

if TYPE_CHECKING:
    from logstatsd.naming import Naming
    from logstatsd.pipeline import Run
    from logstatsd.replay import Sending, Totals
    from logstatsd.routes import Router
    from logstatsd.scan import Batch
    from logstatsd.sink import Sink

BATCH_LINES = 10_000
"""Lines to a Batch of a replay: what a crash may send twice."""
SCHEMA = 1


@dataclass
class Account:
    """What became of the lines of a replay."""

    lines: int = 0
    parsed: int = 0
    outside: int = 0
    excluded: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[str, bytes]] = field(default_factory=list)
    oldest_s: float | None = None
    started_s: float = field(default_factory=time.monotonic)

    def add(self, batch: Batch) -> None:
        self.lines += batch.lines
        self.parsed += batch.parsed
        self.outside += batch.outside
        self.rejected.update(batch.rejected)
        self.samples += batch.samples[: 5 - len(self.samples)]

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started_s


def replay_once(paths: tuple[str, ...], given: dict[str, Any]) -> None:
    """Send what the logs hold. Raises UnreachableError, UndeliveredError and all that reading them may."""
    counted = Account()
    router, settler = load_app(given)
    naming = naming_of(given, router)
    sink = open_destination(given)
    sending = sending_to(sink, naming, given)
    run = open_run(paths, router, given, lines=BATCH_LINES, bucket_s=bucket_s(given))
    refuse_untimed(run)
    excluded = Excluded(given["exclude"])
    failure: UndeliveredError | None = None
    try:
        for piece in tallies(run, settler, quiet=given["quiet"] or given["dry_run"]):
            counted.add(piece.batch)
            counted.excluded += excluded.take_out(piece.batch)
            sending.add(piece.batch)
        totals = sending.finish()
    except UndeliveredError as error:
        failure, totals = error, sending.totals()
    finally:
        sink.close()
    nothing_fits(run, counted.lines, counted.parsed, counted.outside, counted.samples)
    if not given["quiet"]:
        account(run, settler, counted.rejected, counted.samples, counted.lines)
    conclude(counted, totals, sink, given)
    if failure or totals.dropped:
        raise failure or UndeliveredError(f"{sink.name}: {totals}")


def naming_of(given: dict[str, Any], router: Router) -> Naming:
    """Names and tags for the app. Raises OptionError."""
    from logstatsd.naming import Naming  # noqa: PLC0415

    return Naming(
        app_name=given["app_name"] or router.app_name,
        scheme=given["scheme"],
        prefix=given["prefix"],
        tags=given["tags"],
        per_endpoint=given["per_endpoint"],
    )


def open_destination(given: dict[str, Any]) -> Sink:
    """Connect to where the metrics go. Raises UnreachableError, OptionError."""
    from logstatsd.sink import open_file_sink, open_sink  # noqa: PLC0415

    if given["dry_run"]:
        return open_file_sink(sys.stdout.buffer)
    if given["tcp"] and given["socket"]:
        raise OptionError("--tcp and --socket: give one of them")
    return open_sink(
        given["host"],
        given["port"],
        given["socket"],
        tcp=given["tcp"],
        rate=given["rate"],
        timeout_s=given["timeout"],
    )


def sending_to(sink: Sink, naming: Naming, given: dict[str, Any]) -> Sending:
    """What encodes Batches for the sink: timings, or with --backfill points with a time of their own."""
    if given["backfill"]:
        from logstatsd.backfill import Backfill  # noqa: PLC0415

        for name in ("speed", "pack", "type"):
            if given[name]:
                raise OptionError(f"--backfill and --{name}: give one of them")
        if given["dialect"] != "dogstatsd" or given["sample_rate"] != 1:
            raise OptionError("--backfill: points with a time are DogStatsD's alone, and are never sampled")
        return Backfill(naming, sink, max_series=given["max_series"])
    from logstatsd.replay import Replay  # noqa: PLC0415

    return Replay(
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


def refuse_untimed(run: Run) -> None:
    """Raise FormatError where a log has no durations, or no times where those are needed."""
    for log in run.logs:
        if log.detected and "duration" not in log.log_format.chosen:
            raise FormatError(f"{log.source.name}: the log has no durations; {advice(run)}")
        if log.detected and run.bucket_s and "time" not in log.log_format.chosen:
            raise FormatError(f"{log.source.name}: the log has no times; leave --speed and --backfill out")


def conclude(counted: Account, totals: Totals, sink: Sink, given: dict[str, Any]) -> None:
    """Say what was done: one line, notes on time where they matter, or one JSON object."""
    from logstatsd.backfill import history_note  # noqa: PLC0415
    from logstatsd.replay import time_note  # noqa: PLC0415

    quiet = given["quiet"]
    if given["as_json"]:
        click.echo(json.dumps(as_json(counted, totals)), file=sys.stderr if given["dry_run"] else None)
    rejected = f", {counted.rejected.total():,} rejected" if counted.rejected else ""
    untimed = f", {totals.untimed:,} without a duration" if totals.untimed else ""
    folded = f", {totals.folded:,} of them folded into overflow" if totals.folded else ""
    unconfirmed = (
        f"; delivery of {totals.unconfirmed:,} unconfirmed: nobody can see a remote UDP receiver's losses"
        if totals.unconfirmed
        else ""
    )
    what = "points" if given["backfill"] else "timings"
    say(
        f"{counted.lines:,} lines read{rejected}{untimed}; {totals.sent + totals.unconfirmed:,} {what} "
        f"sent to {sink.name} in {totals.series:,} series{folded}, {counted.seconds:.1f} s{unconfirmed}",
        quiet=quiet,
    )
    note = history_note(totals) if given["backfill"] else time_note(totals.oldest_s, time.time())
    if note and not given["speed"]:
        say(note, quiet=quiet)


def as_json(counted: Account, totals: Totals) -> dict[str, Any]:
    """What `replay --json` says; the names are stable, see the README."""
    from logstatsd.report import iso  # noqa: PLC0415

    return {
        "schema": SCHEMA,
        "lines": counted.lines,
        "parsed": counted.parsed,
        "rejected": counted.rejected.total(),
        "outside": counted.outside,
        "excluded": counted.excluded,
        "untimed": totals.untimed,
        "due": totals.due,
        "sent": totals.sent,
        "dropped": totals.dropped,
        "unconfirmed": totals.unconfirmed,
        "series": totals.series,
        "oldest": iso(totals.oldest_s),
        "seconds": round(counted.seconds, 3),
    }
