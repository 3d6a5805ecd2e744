"""What became of the lines and values of a replay: counted, in words, and as JSON."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from logstatsd.cli.console import say
from logstatsd.delivery.encoders.encoder import Totals
from logstatsd.model.line_counts import LineCounts
from logstatsd.text import iso_utc

if TYPE_CHECKING:
    from logstatsd.cli.request import Telling
    from logstatsd.delivery.encoders.encoder import Encoder

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


def conclude(counted: ReplayCounts, encoder: Encoder | None, destination: str, telling: Telling) -> None:
    """Say what was done: one line, a note on time where it matters, and one JSON object if asked for.

    Without an encoder nothing was there to send.
    """
    totals = encoder.totals() if encoder else NOTHING
    if telling.as_json:
        click.echo(json.dumps(replay_as_json(counted, totals)), file=sys.stderr if telling.dry_run else None)
    if encoder is None:
        say("nothing new", quiet=telling.quiet)
        return
    if not totals.due and totals.untimed:
        return
    say(_in_words(counted, totals, encoder.noun, destination, telling), quiet=telling.quiet)
    if note := encoder.time_note(time.time()):
        say(note, quiet=telling.quiet)


def _in_words(counted: ReplayCounts, totals: Totals, noun: str, destination: str, telling: Telling) -> str:
    lines = counted.lines
    rejected = f", {lines.rejected.total():,} rejected" if lines.rejected else ""
    untimed = f", {totals.untimed:,} without a duration" if totals.untimed else ""
    folded = f", {totals.folded:,} of them folded into overflow" if totals.folded else ""
    unconfirmed = (
        f"; delivery of {totals.unconfirmed:,} unconfirmed: nobody can see a remote UDP receiver's losses"
        if totals.unconfirmed
        else ""
    )
    done = "printed, not sent," if telling.dry_run else f"sent to {destination}"
    return (
        f"{lines.lines:,} lines read{rejected}{untimed}; {totals.sent + totals.unconfirmed:,} {noun} "
        f"{done} in {totals.series:,} series{folded}, {counted.seconds:.1f} s{unconfirmed}"
    )


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
        "series": totals.series,
        "lost": lines.lost,
        "oldest": iso_utc(totals.oldest_s),
        "seconds": round(counted.seconds, 3),
    }
