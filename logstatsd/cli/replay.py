"""`replay`: send every timing of access logs to a StatsD server, once or as the logs grow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from logstatsd.cli.console import account
from logstatsd.cli.destination import DestinationOptions, MetricOptions
from logstatsd.cli.inputs import open_run, refuse_misfits, tallies
from logstatsd.cli.options import (
    ABOVE_ZERO,
    HALF_OF_MANY,
    AppOptions,
    FormatOptions,
    Options,
    RunOptions,
    command,
    logs_argument,
    option,
    quiet,
    takes,
)
from logstatsd.cli.outcome import ReplayCounts, Telling
from logstatsd.cli.resume import ResumeOptions, replay_on
from logstatsd.cli.sender import BATCH_LINES, Request, Sender, refuse_undated, refuse_untimed
from logstatsd.errors import OptionError, UndeliveredError
from logstatsd.scan.merge import in_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logstatsd.scan.run import Piece, Run


@dataclass(frozen=True, kw_only=True)
class ReplayOptions(Options):
    """How a replay goes about it."""

    dry_run: bool = option(
        "-n", "--dry-run", is_flag=True, help="Print what would be sent, and send nothing."
    )
    speed: float | None = option(
        "--speed", type=ABOVE_ZERO, metavar="X", help="Keep the log's own pace, X times as fast."
    )
    as_json: bool = option("--json", is_flag=True, help="End with one JSON object about what was sent.")
    quiet: bool = quiet()


@command()
@logs_argument
@takes(
    asked=ReplayOptions,
    app=AppOptions,
    formats=FormatOptions,
    lines=RunOptions,
    destination=DestinationOptions,
    metrics=MetricOptions,
    resume=ResumeOptions,
)
def replay(
    logs: tuple[str, ...],
    *,
    asked: ReplayOptions,
    app: AppOptions,
    formats: FormatOptions,
    lines: RunOptions,
    destination: DestinationOptions,
    metrics: MetricOptions,
    resume: ResumeOptions,
) -> int:
    """Send every timing of access logs as a tagged StatsD timing metric.

    \b
    logstatsd replay access.log --app myapp:app
    logstatsd replay access.log --routes routes.json --host 10.0.0.5 --tag env:prod
    logstatsd replay access.log --app myapp:app --dry-run | head
    logstatsd replay access.log --routes routes.json --resume -q
    logstatsd replay access.log --routes routes.json --follow
    """
    telling = Telling(asked.as_json, asked.quiet, asked.dry_run)
    request = Request(app, formats, lines, destination.settled(), metrics, telling, asked.speed)
    if resume.wanted:
        return replay_on(logs, request, resume)
    if idle := resume.on_command_line("state_dir", "from_", "until_eof", "wait", "self_metrics"):
        raise OptionError(f"{idle[0]}: only with --resume, --checkpoint or --follow")
    replay_once(logs, request)
    return 0


def replay_once(paths: tuple[str, ...], asked: Request) -> None:
    """Send what the logs hold. Raises UnreachableError, UndeliveredError and all that reading them may."""
    counted, quiet = ReplayCounts(), asked.telling.quiet
    sender = Sender(asked, counted)
    failure: UndeliveredError | None = None
    try:
        run = open_run(
            paths, sender.router, asked.formats, asked.lines,
            quiet=quiet, batch_lines=BATCH_LINES, bucket_s=asked.bucket_s,
        )  # fmt: skip
        for log in run.logs:
            if log.detected:
                refuse_undated(log.source.name, log.log_format, run.bucket_s)
        failure = _send(run, sender, quiet=quiet or asked.telling.dry_run)
    finally:
        sender.close()
    refuse_misfits(run, counted.lines)
    if not quiet:
        account(run, sender.settler, counted.lines)
    sender.conclude()
    if failure:
        raise failure
    refuse_untimed(run.changes)
    asked.lines.limit(HALF_OF_MANY).check(counted.lines, ", ".join(paths))


def _send(run: Run, sender: Sender, *, quiet: bool) -> UndeliveredError | None:
    """Send all pieces of a run; returns what went wrong with the delivery, if anything did."""
    try:
        for piece in tallies(run, sender.settler, quiet=quiet, pieces=_pieces(run)):
            sender.send(piece.batch)
    except UndeliveredError as error:
        return error
    except KeyboardInterrupt:  # or SIGTERM
        sender.conclude()
        raise
    return sender.finish()


def _pieces(run: Run) -> Iterator[Piece]:
    """One log after the other; where time matters, as they were written side by side."""
    return in_time(run) if run.bucket_s and len(run.logs) > 1 else run.pieces()
