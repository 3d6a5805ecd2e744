"""`normalize`: print one JSON object for every line of a log, in order."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logstatsd.cli.console import account, say
from logstatsd.cli.inputs import load_app, open_run, refuse_misfits, tell_changes, tell_losses
from logstatsd.cli.options import (
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
from logstatsd.model.filters import Excluded
from logstatsd.model.line_counts import LineCounts
from logstatsd.model.route import Undecided
from logstatsd.scan.jsonlines import Normalize, Wanted, as_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logstatsd.scan.jsonlines import Normalized
    from logstatsd.scan.settle import Settler


BLOCK_BYTES = 1 << 19
"""How much of a log is turned into text at a time: of short lines, that is forty times as long."""


@dataclass(frozen=True, kw_only=True)
class NormalizeOptions(Options):
    """What each line's object holds."""

    target: bool = option("--target", is_flag=True, help="Add the logged target.")
    quiet: bool = quiet()


@command()
@logs_argument
@takes(asked=NormalizeOptions, app=AppOptions, formats=FormatOptions, lines=RunOptions)
def normalize(
    logs: tuple[str, ...], asked: NormalizeOptions, app: AppOptions, formats: FormatOptions, lines: RunOptions
) -> int:
    """Print a JSON object for every line of a log, in order: time, method, rule, status, duration.

    \b
    logstatsd normalize access.log --app myapp:app | jq -c 'select(.duration_us > 1e6)'
    """
    router, settler = load_app(app)
    run = open_run(logs, router, formats, lines, quiet=asked.quiet)
    run.block_bytes = BLOCK_BYTES
    wanted = Wanted(run.window, asked.target, Excluded(lines.exclude))
    counts = LineCounts()
    for done in run.over(Normalize(run.choices, router, wanted)):
        for text in _settled(done, settler, wanted):
            sys.stdout.write(text)
        sys.stdout.flush()  # of a live stream, each chunk is what it has said so far
        counts.add(done.counts)
        tell_changes(run, done.path, done.counts.lines, done.stretches, quiet=asked.quiet)
    failed = tell_losses(run, counts)
    refuse_misfits(run, counts)
    if not asked.quiet:
        account(run, settler, counts)
        if counts.excluded:
            say(f"{counts.excluded:,} requests excluded")
    lines.limit().check(counts, ", ".join(logs))
    return failed


def _settled(done: Normalized, settler: Settler, wanted: Wanted) -> Iterator[str]:
    """The text of a chunk, with the entries in it that only the app can tell."""
    entries = [part.route for part in done.parts if not isinstance(part, str)]
    answers = settler.routes(route for route in entries if isinstance(route, Undecided))
    for part in done.parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part.route, Undecided):
            route, proven = answers[part.route]
            if not proven:
                settler.note(route)
            if route in wanted.excluded:
                done.counts.excluded += 1
            else:
                yield as_line(done.path, part, route, target=wanted.target)
