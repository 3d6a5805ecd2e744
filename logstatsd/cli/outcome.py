"""What became of the lines and values of a replay: counted, in words, and as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from logstatsd.cli.console import say
from logstatsd.delivery.encoders.encoder import Totals
from logstatsd.delivery.encoders.timings import time_note

if TYPE_CHECKING:
    from logstatsd.model.batch import Batch

SCHEMA = 1
NOTHING = Totals(due=0, sent=0, dropped=0, unconfirmed=0, untimed=0, series=0, folded=0, oldest_s=None)


@dataclass
class ReplayCounts:
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


def conclude(counted: ReplayCounts, totals: Totals, destination: str, given: dict[str, Any]) -> None:
    """Say what was done: one line, a note on time where it matters, and one JSON object if asked for.

    Without a destination nothing was there to send.
    """
    from logstatsd.delivery.encoders.points import history_note  # noqa: PLC0415

    quiet = given["quiet"]
    if given["as_json"]:
        click.echo(json.dumps(as_json(counted, totals)), file=sys.stderr if given["dry_run"] else None)
    if not destination:
        say("nothing new", quiet=quiet)
        return
    rejected = f", {counted.rejected.total():,} rejected" if counted.rejected else ""
    untimed = f", {totals.untimed:,} without a duration" if totals.untimed else ""
    folded = f", {totals.folded:,} of them folded into overflow" if totals.folded else ""
    unconfirmed = (
        f"; delivery of {totals.unconfirmed:,} unconfirmed: nobody can see a remote UDP receiver's losses"
        if totals.unconfirmed
        else ""
    )
    what = "points" if given["backfill"] else "timings"
    done = "printed, not sent," if given["dry_run"] else f"sent to {destination}"
    say(
        f"{counted.lines:,} lines read{rejected}{untimed}; {totals.sent + totals.unconfirmed:,} {what} "
        f"{done} in {totals.series:,} series{folded}, {counted.seconds:.1f} s{unconfirmed}",
        quiet=quiet,
    )
    note = history_note(totals) if given["backfill"] else time_note(totals.oldest_s, time.time())
    if note and not given["speed"]:
        say(note, quiet=quiet)


def as_json(counted: ReplayCounts, totals: Totals) -> dict[str, Any]:
    """What `replay --json` says; the names are stable, see the README."""
    from logstatsd.formats.times import iso_utc  # noqa: PLC0415

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
        "oldest": iso_utc(totals.oldest_s),
        "seconds": round(counted.seconds, 3),
    }
