"""`routes`: show the app's rules, and with logs which of them are used."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from logstatsd.cli.console import account, opened, refuse_overwriting, say, show
from logstatsd.cli.inputs import load_app, open_run, refuse_misfits, tallies, tell_losses
from logstatsd.cli.options import (
    AppOptions,
    FormatOptions,
    Options,
    RunOptions,
    command,
    option,
    quiet,
    takes,
)
from logstatsd.errors import OptionError
from logstatsd.model.filters import Excluded
from logstatsd.report.columns import Title
from logstatsd.report.summary import Summary
from logstatsd.routing.snapshot import dump_snapshot
from logstatsd.scan.entries import TargetCount
from logstatsd.text import clean, clean_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logstatsd.model.route import Route, RuleInfo
    from logstatsd.routing.router import Router
    from logstatsd.scan.run import Piece, Run
    from logstatsd.scan.settle import Settler

TOP = 10
"""How many unmatched targets are listed."""


@dataclass(frozen=True, kw_only=True)
class RoutesOptions(Options):
    """What of the map is shown, and how."""

    unused: bool = option("--unused", is_flag=True, help="Only rules that the logs never hit.")
    as_json: bool = option("--json", is_flag=True, help="One JSON object.")
    output: str | None = option(
        "-o", "--output", metavar="FILE", help="Without logs: write a snapshot of the routes to FILE."
    )
    quiet: bool = quiet()


@command()
@click.argument("logs", metavar="[LOG...]", nargs=-1)
@takes(asked=RoutesOptions, app=AppOptions, formats=FormatOptions, lines=RunOptions)
def routes(
    logs: tuple[str, ...], asked: RoutesOptions, app: AppOptions, formats: FormatOptions, lines: RunOptions
) -> int:
    """Show the app's URL map, save a snapshot of it, or count which rules a log hits.

    \b
    logstatsd routes --app myapp:app
    logstatsd routes --app myapp:app -o routes.json
    logstatsd routes --app myapp:app access.log --unused
    """
    if asked.unused and not logs:
        raise OptionError("--unused: give the logs in which to look for the rules")
    refuse_overwriting(asked.output, logs)
    router, settler = load_app(app)
    if asked.output and not logs and not asked.as_json:
        _write_snapshot(router, asked.output)
        return 0
    usage, failed = Usage(), 0
    if logs:
        run = open_run(logs, router, formats, lines, quiet=asked.quiet)
        failed = _count(run, settler, usage, Excluded(lines.exclude), asked)
    rules = [info for info in router.rules if not asked.unused or usage.is_unused(info)]
    if asked.unused and not rules:
        say("no rule is unused", quiet=asked.quiet)
    if asked.as_json:
        show(json.dumps(_as_json(rules, usage, logs=bool(logs)), indent=2), asked.output)
    elif rules or usage.unmatched or asked.output:
        show(_table(rules, usage, logs=bool(logs)), asked.output)
    return failed


@dataclass
class Usage:
    """The requests of each rule, the targets that no rule matched, and what could not be read."""

    requests: Counter[Route] = field(default_factory=Counter)
    unmatched: Counter[bytes] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    def is_unused(self, info: RuleInfo) -> bool:
        """Whether a rule that labels requests has none."""
        return not self.requests[info.route] and not info.redirects


def _write_snapshot(router: Router, output: str) -> None:
    """Write the app's routes to a file, or to stdout for `-`. Raises InputError."""
    with opened(output) as file:
        file.write(dump_snapshot(router.snapshot))


def _count(run: Run, settler: Settler, usage: Usage, excluded: Excluded, asked: RoutesOptions) -> int:
    """Count the requests of the run's logs; returns the exit code for what could not be read."""
    summary = Summary(("rule",), excluded)
    pieces = None if asked.unused else _counting(run, settler, usage.unmatched)
    for piece in tallies(run, settler, quiet=asked.quiet, pieces=pieces):
        summary.add(piece.batch)
    usage.lost = summary.counts.lost
    failed = tell_losses(run, summary.counts)
    refuse_misfits(run, summary.counts)
    for (route, _), group in summary.groups.items():
        usage.requests[route] += group.requests
    if not asked.quiet:
        account(run, settler, summary.counts)
    return failed


def _counting(run: Run, settler: Settler, unmatched: Counter[bytes]) -> Iterator[Piece]:
    """The run's pieces; on the way, the unmatched targets are counted."""
    for pieces, targets in run.over(TargetCount(run.scan())):
        unmatched.update(targets.decided)
        answers = settler.routes(undecided for _, undecided in targets.undecided)
        for (target, undecided), count in targets.undecided.items():
            if answers[undecided][0].outcome == "unmatched":
                unmatched[target] += count
        if len(unmatched) > 100_000:  # a flood of distinct targets: keep those that may still be on top
            top = unmatched.most_common(10_000)
            unmatched.clear()
            unmatched.update(dict(top))
        yield from pieces


def _methods(info: RuleInfo) -> str:
    shown = "any" if info.methods is None else " ".join(sorted(info.methods))
    return f"websocket {shown}" if info.websocket else shown


def _converters(info: RuleInfo) -> str:
    return ", ".join(
        f"{converter.variable}: {converter.name}{' (custom)' if converter.custom else ''}"
        for converter in info.converters
    )


def _as_json(rules: list[RuleInfo], usage: Usage, *, logs: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "schema": 1,
        "rules": [
            {
                "rule": info.route.rule,
                "endpoint": info.endpoint,
                "methods": None if info.methods is None else sorted(info.methods),
                "converters": {converter.variable: converter.name for converter in info.converters},
                "custom": info.custom,
                "websocket": info.websocket,
                "redirects": info.redirects,
                **({"requests": usage.requests[info.route]} if logs else {}),
            }
            for info in rules
        ],
    }
    if logs:
        found["lost"] = usage.lost
        found["unmatched"] = [
            {"target": clean_bytes(target), "requests": count}
            for target, count in usage.unmatched.most_common(TOP)
        ]
    return found


def _table(rules: list[RuleInfo], usage: Usage, *, logs: bool) -> Any:
    from rich.console import Group  # noqa: PLC0415 - heavy

    from logstatsd.report.tables import fitted  # noqa: PLC0415 - brings rich

    titles = [Title("rule", is_name=True), Title("methods", 2, is_name=True)]
    titles += [Title("endpoint", 3, is_name=True), Title("converters", 1, is_name=True)]
    titles += [Title("requests")] if logs else []
    lines = []
    for info in rules:
        cells = [info.route.rule, _methods(info), info.endpoint, _converters(info)]
        lines.append([clean(cell, 1_000) for cell in cells] + ([_used(info, usage.requests)] if logs else []))
    table = fitted(titles, lines, faint=lambda number: logs and not usage.requests[rules[number].route])
    if not usage.unmatched:
        return table
    top = [[clean_bytes(target), f"{count:,}"] for target, count in usage.unmatched.most_common(TOP)]
    return Group(table, "", fitted([Title("unmatched targets", is_name=True), Title("requests")], top))


def _used(info: RuleInfo, requests: Counter[Route]) -> str:
    if info.redirects:
        return "redirects"
    return f"{requests[info.route]:,}" if requests[info.route] else "never"
