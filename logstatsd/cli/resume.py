"""`replay --resume` and `--follow`: send what was added to the logs, and remember how far."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

import click

from logstatsd.cli import signals
from logstatsd.cli.console import say, say_rejected, say_unproven
from logstatsd.cli.inputs import followed, format_of
from logstatsd.cli.options import Options, option
from logstatsd.cli.outcome import ReplayCounts, conclude
from logstatsd.cli.sender import BATCH_LINES, Request, Sender
from logstatsd.delivery.encoders import ENCODERS
from logstatsd.errors import LogstatsdError, OptionError
from logstatsd.formats.logformat import LogFormat
from logstatsd.tail.checkpoint import LogState, Store, default_path
from logstatsd.tail.follow import Control, follow
from logstatsd.tail.resume import resume, start

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from logstatsd.tail.plan import Portion

MANY_LINES = 100
"""So many new lines of which none fits are no scanner's garbage: that is said even where quiet is wanted."""


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
    from_: str = option(
        "--from", type=click.Choice(["start", "end"]), default="start", show_default=True,
        help="Where the first run begins.",
    )  # fmt: skip
    until_eof: bool = option(
        "--until-eof", is_flag=True, help="Send a rotated file's last line even without its newline."
    )
    wait: bool = option("--wait", is_flag=True, help="Wait for another run to end, rather than end with 5.")
    follow: bool = option(
        "-f", "--follow", is_flag=True,
        help="Go on as lines are written, through rotations, with --resume implied.",
    )  # fmt: skip

    @property
    def wanted(self) -> bool:
        """Whether the run is to go on where another stopped."""
        return bool(self.resume or self.checkpoint or self.follow)


def replay_on(paths: tuple[str, ...], asked: Request, options: ResumeOptions) -> int:
    """Send what the logs hold beyond the checkpoint. Raises what reading, sending and the checkpoint may."""
    _refuse_partial_runs(asked)
    logs, destination = followed(paths), asked.destination.name()
    path = options.checkpoint or default_path(options.state_dir, paths, destination)
    with (
        Store(path, destination, wait=options.wait) as store,
        Control() as control,
        signals.stoppable(control.stop, control.reopen) as stopped,
    ):
        states = {log: _known(log, store, options, quiet=asked.telling.quiet) for log in logs}
        delivery, failure = _Delivery(store, asked), None
        try:
            try:
                for portion in _unread(states, control, options):
                    if portion is not None:
                        delivery.take(portion)
                    if control.stopped():
                        break
            except LogstatsdError as error:
                failure = error
            delivery.conclude(failure)
        finally:
            delivery.close()
    return stopped.exit_code


def _refuse_partial_runs(asked: Request) -> None:
    """Raise OptionError for what does not go with reading only what is new."""
    if asked.lines.since or asked.lines.until or asked.speed:
        raise OptionError(
            "--resume and --follow take all that is new; leave out --since, --until and --speed"
        )
    if not ENCODERS[asked.metrics.chosen_encoder].resumes:
        raise OptionError(
            "--backfill takes whole logs: where a run stops within ten seconds, the next would replace their "
            "points; leave out --resume and --follow"
        )
    if asked.telling.dry_run:
        raise OptionError("--dry-run sends nothing, so there is nothing to resume; leave one of them out")


def _known(log: str, store: Store, options: ResumeOptions, *, quiet: bool) -> LogState:
    """Where the last run stopped; for a log that is new, where the first one begins."""
    state = store.checkpoint.logs.get(log)
    if state is None:
        awaited = options.follow and not os.path.exists(log)  # noqa: PTH110
        state = LogState() if awaited else start(log, options.from_)
        store.save(store.checkpoint.with_log(log, state))
        how = "not there yet, waiting for it" if awaited else f"first run, from its {options.from_}"
        say(f"{log}: {how}", quiet=quiet)
    return state


def _unread(
    states: Mapping[str, LogState], control: Control, options: ResumeOptions
) -> Iterator[Portion | None]:
    """The lines that were not sent yet, in portions; None where there are none for now."""
    if options.follow:
        yield from follow(states, control, say, max_lines=BATCH_LINES, until_eof=options.until_eof)
        return
    for log, state in states.items():
        with resume(log, state) as plan:
            yield from plan.portions(max_lines=BATCH_LINES, until_eof=options.until_eof)
        for note in plan.notes:
            say(note)


class _Delivery:
    """Sends portions, and moves the checkpoint once what it covers was flushed.

    Neither the app nor the server is looked for before there is a line to send.
    """

    def __init__(self, store: Store, asked: Request) -> None:
        self._store, self._asked = store, asked
        self._sender: Sender | None = None
        self._counted = ReplayCounts()
        self._formats: dict[str, LogFormat] = {}

    def take(self, portion: Portion) -> None:
        """Send a portion, and move the checkpoint past it: a run that is killed repeats one, at most.

        Raises UndeliveredError; then the checkpoint stays where it was.
        """
        state = portion.state._replace(format=self._store.checkpoint.logs[portion.log].format)
        if portion.chunk.data:
            log_format = self._format(portion.log, portion.chunk.data)
            state = state._replace(format=asdict(log_format))
            self._sender = self._sender or Sender(self._asked, self._counted)
            self._sender.scan(portion.log, log_format, portion.chunk.data)
            self._sender.flush()
        self._store.save(self._store.checkpoint.with_log(portion.log, state))

    def _format(self, log: str, lines: bytes) -> LogFormat:
        """The log's format: as given, as the checkpoint knows it, or as the lines show."""
        if log not in self._formats:
            data = self._store.checkpoint.logs[log].format
            known = LogFormat.from_data(data) if data else None
            quiet = self._asked.telling.quiet
            self._formats[log] = format_of(log, lines, self._asked.formats, known, quiet=quiet)
        return self._formats[log]

    def conclude(self, failure: LogstatsdError | None) -> None:
        """Say what was done. Raises the failure, or UndeliveredError where it was not all delivered."""
        lines, sender, quiet = self._counted.lines, self._sender, self._asked.telling.quiet
        if sender is None:
            if failure:
                raise failure
            conclude(self._counted, None, "", self._asked.telling)
            return
        failure = failure or sender.finish()
        if not quiet:
            say_rejected(lines)
            say_unproven(sender.settler)
        if lines.none_fit and (lines.lines >= MANY_LINES or not quiet):
            say(
                f"none of the {lines.lines:,} new lines fits the format that the log had: if that has "
                "changed, give the new one by --log-format once"
            )
        sender.conclude()
        if failure:
            raise failure

    def close(self) -> None:
        """Let go of the server."""
        if self._sender:
            self._sender.close()
