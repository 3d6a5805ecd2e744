"""`replay`: send every timing of access logs to a StatsD server, once or as the logs grow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import click

from logstatsd.cli.destination import DestinationOptions, MetricOptions
from logstatsd.cli.options import (
    ABOVE_ZERO,
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
from logstatsd.cli.request import Request, Telling
from logstatsd.errors import OptionError


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

    @property
    def telling(self) -> Telling:
        """How the outcome is told."""
        return Telling(self.as_json, self.quiet, self.dry_run)


@dataclass(frozen=True, kw_only=True)
class ResumeOptions(Options):
    """Where the last run stopped, and what to do from there."""

    heading: ClassVar[str] = "Going on where the last run stopped"

    resume: bool = option(
        "--resume", is_flag=True, help="Send only what was added since the last run; remember how far."
    )
    checkpoint: str | None = option(
        "--checkpoint", metavar="FILE",
        help="Where to remember it, with --resume implied. Default: a file in the state directory.",
    )  # fmt: skip
    state_dir: str | None = option(
        "--state-dir", metavar="DIR",
        help="The state directory. Default: $STATE_DIRECTORY, $XDG_STATE_HOME/logstatsd or "
        "~/.local/state/logstatsd.",
    )  # fmt: skip
    from_: str | None = option(
        "--from", type=click.Choice(["start", "end"]),
        help="Where the first run begins. Default: the end with --follow, as `tail -F`, else the start.",
    )  # fmt: skip
    until_eof: bool = option(
        "--until-eof", is_flag=True, help="Send a rotated file's last line even without its newline."
    )
    wait: bool = option("--wait", is_flag=True, help="Wait for another run to end, rather than end with 5.")
    follow: bool = option(
        "-f", "--follow", is_flag=True,
        help="Go on as lines are written, through rotations, with --resume implied.",
    )  # fmt: skip

    self_metrics: bool = option(
        "--self-metrics", is_flag=True,
        help="Also send logstatsd.lines by outcome, logstatsd.timings by fate, and logstatsd.lag in seconds.",
    )  # fmt: skip

    @property
    def wanted(self) -> bool:
        """Whether the run is to go on where another stopped."""
        return bool(self.resume or self.checkpoint or self.follow)

    @property
    def begins_at(self) -> str:
        """Where the first run begins: the "start" or the "end" of the log."""
        return self.from_ or ("end" if self.follow else "start")

    @property
    def skips_by_default(self) -> bool:
        """Whether the first run passes over what the log holds, although nobody asked for that."""
        return self.from_ is None and self.begins_at == "end"

    def refuse_idle(self) -> None:
        """Raise OptionError for an option that means something only to a run that goes on."""
        if idle := self.on_command_line("state_dir", "from_", "until_eof", "wait", "self_metrics"):
            raise OptionError(f"{idle[0]}: only with --resume, --checkpoint or --follow")


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
    request = Request(app, formats, lines, destination.settled(), metrics, asked.telling, asked.speed)
    if resume.wanted:
        from logstatsd.cli.resume import replay_on  # noqa: PLC0415

        return replay_on(logs, request, resume)
    resume.refuse_idle()
    from logstatsd.cli.once import replay_once  # noqa: PLC0415 - needs more than a run with nothing new

    return replay_once(logs, request)
