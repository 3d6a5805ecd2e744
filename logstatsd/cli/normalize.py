"""`normalize`: print one JSON object for every line of a log, in order."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from logstatsd.cli.console import account, say
from logstatsd.cli.inputs import load_app, nothing_fits, open_run
from logstatsd.model.batch import SAMPLES
from logstatsd.model.filters import Excluded
from logstatsd.model.route import Undecided


def normalize_lines(paths: tuple[str, ...], given: dict[str, Any]) -> None:
    """Print one JSON object a log line, in order."""
    from logstatsd.scan.jsonlines import Normalize, Options, as_line  # noqa: PLC0415

    router, settler = load_app(given)
    run = open_run(paths, router, given)
    left_out = Excluded(given["exclude"])
    work = Normalize(run.formats, router, Options(run.window, given["target"], left_out))
    lines = excluded = 0
    rejected: Counter[str] = Counter()
    samples: list[tuple[str, bytes]] = []
    for done in run.over(work):
        for part in done.parts:
            if isinstance(part, str):
                sys.stdout.write(part)
            elif isinstance(part.route, Undecided):
                route, proven = settler.route(part.route)
                if not proven:
                    settler.note(route)
                if route in left_out:
                    excluded += 1
                else:
                    sys.stdout.write(as_line(done.path, part, route, target=given["target"]))
        sys.stdout.flush()  # of a live stream, each chunk is what it has said so far
        lines, excluded = lines + done.lines, excluded + done.excluded
        rejected.update(done.rejected)
        samples += done.samples[: SAMPLES - len(samples)]
    nothing_fits(run, lines, lines - rejected.total(), 0, samples)
    if not given["quiet"]:
        account(run, settler, rejected, samples, lines)
        if excluded:
            say(f"{excluded:,} requests excluded")
