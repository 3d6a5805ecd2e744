"""What became of the lines and values of a replay: counted, in words, and as JSON."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import click

from logstatsd.cli.console import say
from logstatsd.delivery.encoders.encoder import Totals
from logstatsd.errors import LogstatsdError, UndeliveredError
from logstatsd.model.line_counts import LineCounts
from logstatsd.text import iso_utc

if TYPE_CHECKING:
    from logstatsd.cli.request import Request, Telling
    from logstatsd.cli.sender import Sender

SCHEMA = 1
NOTHING = Totals(due=0, sent=0, dropped=0, unconfirmed=0, untimed=0, series=0, folded=0, oldest_s=None)


@dataclass
class ReplayCounts:
    """What became of the lines of a replay, and when it began."""

    lines: LineCounts = field(default_factory=LineCounts)
    started_s: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long the replay has taken so far."""
        return time.monotonic() - self.started_s


class Account:
    """The account of a replay, told once however it ends: in words on stderr, and as JSON if asked for.

    `open` makes the Sender, which is closed in the end. Where the replay fails, what was read is still sent;
    where a signal ends it, what is in flight is counted as it is.
    """

    def __init__(self, asked: Request) -> None:
        self.counted = ReplayCounts()
        self.sender: Sender | None = None
        self._asked, self._is_told = asked, False

    def open(self) -> Sender:
        """Load the app and look for the server. Raises AppError, OptionError, UnreachableError."""
        from logstatsd.cli import sender  # noqa: PLC0415 - not before there is a line to send

        self.sender = sender.Sender(self._asked, self.counted)
        return self.sender

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            if error and not self._is_told and not isinstance(error, BrokenPipeError):
                self._settle(error)
                self.tell(error)
        finally:
            if self.sender:
                self.sender.close()

    def _settle(self, error: BaseException) -> None:
        if self.sender and isinstance(error, LogstatsdError) and not isinstance(error, UndeliveredError):
            self.sender.finish()
        if self.sender:
            self.sender.encoder.abandon()

    def tell(self, failure: BaseException | None = None) -> None:
        """Say what was done, and a note on time where it matters."""
        self._is_told = True
        telling, encoder = self._asked.telling, self.sender.encoder if self.sender else None
        totals = encoder.totals() if encoder else NOTHING
        # A failed run that has sent something says so also when quiet; this error has the numbers itself.
        numbered = failure is None or isinstance(failure, UndeliveredError)
        quiet = telling.quiet and (numbered or not totals.due)
        if telling.as_json:
            self._print(totals, failure)
        if self.sender is None:
            say("nothing new", quiet=quiet or failure is not None)
        elif totals.due or not (failure or totals.untimed):
            say(_in_words(self.counted, totals, self.sender, telling), quiet=quiet)
        if quiet and (left_out := _left_out(totals)):
            say(left_out)
        if encoder and totals.due and (note := encoder.time_note(time.time())):
            say(note, quiet=telling.quiet)

    def _print(self, totals: Totals, failure: BaseException | None) -> None:
        text = json.dumps(replay_as_json(self.counted, totals))
        try:
            click.echo(text, file=sys.stderr if self._asked.telling.dry_run else None)
        except OSError:
            say(text)  # stdout takes no more, as on a full disk: this is where a person still looks
            if failure is None:
                raise


def _in_words(counted: ReplayCounts, totals: Totals, sender: Sender, telling: Telling) -> str:
    lines = counted.lines
    rejected = f", {lines.rejected.total():,} rejected" if lines.rejected else ""
    untimed = f", {totals.untimed:,} without a duration" if totals.untimed else ""
    folded = f", {totals.folded:,} of them folded into overflow" if totals.folded else ""
    why = (
        "the server went away, or stopped, before it had read them"
        if totals.unanswered
        else "nobody can see a remote UDP receiver's losses"
    )
    unconfirmed = f"; delivery of {totals.unconfirmed:,} unconfirmed: {why}" if totals.unconfirmed else ""
    left_out = f"; {_left_out(totals)}" if _left_out(totals) else ""
    done = "printed, not sent," if telling.dry_run else f"sent to {sender.sink.name}"
    return (
        f"{lines.lines:,} lines read{rejected}{untimed}; {totals.sent + totals.unconfirmed:,} "
        f"{sender.encoder.noun} {done} in {totals.series:,} series{folded}, "
        f"{counted.seconds:.1f} s{unconfirmed}{left_out}"
    )


def _left_out(totals: Totals) -> str:
    """Say which requests have no point, and why; nothing where there are none."""
    why = {
        "without a time that can be read": totals.undated,
        "dated in the future, or before 1990": totals.misdated,
        "too late for their ten seconds": totals.too_late,
    }
    return ", ".join(f"{count:,} requests left out: {words}" for words, count in why.items() if count)


def replay_as_json(counted: ReplayCounts, totals: Totals) -> dict[str, Any]:
    """What `replay --json` says; the names are stable, see docs/commands.md."""
    lines = counted.lines
    return {
        "schema": SCHEMA,
        "lines": lines.lines,
        "parsed": lines.parsed,
        "rejected": lines.rejected.total(),
        "outside": lines.outside,
        "excluded": lines.excluded,
        "untimed": totals.untimed,
        "due": totals.due,
        "sent": totals.sent,
        "dropped": totals.dropped,
        "unconfirmed": totals.unconfirmed,
        "undated": totals.undated,
        "misdated": totals.misdated,
        "too_late": totals.too_late,
        "series": totals.series,
        "lost": lines.lost,
        "oldest": iso_utc(totals.oldest_s),
        "seconds": round(counted.seconds, 3),
    }
