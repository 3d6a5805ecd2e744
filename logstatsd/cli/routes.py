"""What `routes` and `normalize` do."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from logstatsd.cli.console import account, say, show
from logstatsd.cli.inputs import load_app, nothing_fits, open_run, tallies
from logstatsd.errors import InputError
from logstatsd.model.filters import Excluded
from logstatsd.report.summary import Summary
from logstatsd.report.tables import Title, fitted
from logstatsd.text import clean, clean_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logstatsd.model.route import Route, RuleInfo
    from logstatsd.scan.run import Piece, Run
    from logstatsd.scan.settle import Settler

TOP = 10
"""How many unmatched targets are listed."""


def write_snapshot(given: dict[str, Any], output: str) -> None:
    """Write the app's routes to a file, or to stdout for `-`. Raises InputError."""
    from logstatsd.routing.snapshot import dump_snapshot  # noqa: PLC0415

    router, _ = load_app(given)
    text = dump_snapshot(router.snapshot)
    try:
        with click.open_file(output, "w", encoding="utf-8", atomic=output != "-") as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror}") from None


def list_routes(paths: tuple[str, ...], given: dict[str, Any]) -> None:
    """Print the map; with logs, the requests of each rule and the top unmatched targets."""
    router, settler = load_app(given)
    requests: Counter[Route] = Counter()
    unmatched: Counter[bytes] = Counter()
    if paths:
        run = open_run(paths, router, given)
        summary = Summary(("rule",), Excluded(given["exclude"]))
        pieces = None if given["unused"] else _counting(run, settler, unmatched)
        for piece in tallies(run, settler, quiet=given["quiet"], pieces=pieces):
            summary.add(piece.batch)
        nothing_fits(run, summary.lines, summary.parsed, summary.outside, summary.span.samples)
        for (route, _), group in summary.groups.items():
            requests[route] += group.requests
        if not given["quiet"]:
            account(run, settler, summary.rejections, summary.span.samples, summary.lines)
    rules = list(router.rules)
    if given["unused"]:
        rules = [info for info in rules if not requests[info.route] and not info.redirects]
        if not rules:
            say("no rule is unused", quiet=given["quiet"])
    if given["as_json"]:
        text = json.dumps(_as_json(rules, requests, unmatched, logs=bool(paths)), indent=2)
        show(text, given["output"])
    elif rules or unmatched or given["output"]:
        show(_table(rules, requests, unmatched, logs=bool(paths)), given["output"])


def _counting(run: Run, settler: Settler, unmatched: Counter[bytes]) -> Iterator[Piece]:
    """The run's pieces; on the way, the unmatched targets are counted."""
    from logstatsd.scan.entries import Usage  # noqa: PLC0415

    for pieces, targets in run.over(Usage(run.scan())):
        unmatched.update(targets.decided)
        for (target, undecided), count in targets.undecided.items():
            if settler.route(undecided)[0].outcome == "unmatched":
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


def _as_json(
    rules: list[RuleInfo], requests: Counter[Route], unmatched: Counter[bytes], *, logs: bool
) -> dict[str, Any]:
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
                **({"requests": requests[info.route]} if logs else {}),
            }
            for info in rules
        ],
    }
    if logs:
        found["unmatched"] = [
            {"target": clean_bytes(target), "requests": count} for target, count in unmatched.most_common(TOP)
        ]
    return found


def _table(rules: list[RuleInfo], requests: Counter[Route], unmatched: Counter[bytes], *, logs: bool) -> Any:
    from rich.console import Group  # noqa: PLC0415

    titles = [Title("rule", is_name=True), Title("methods", 2, is_name=True)]
    titles += [Title("endpoint", 3, is_name=True), Title("converters", 1, is_name=True)]
    titles += [Title("requests")] if logs else []
    lines = []
    for info in rules:
        cells = [info.route.rule, _methods(info), info.endpoint, _converters(info)]
        lines.append([clean(cell, 1_000) for cell in cells] + ([_used(info, requests)] if logs else []))
    table = fitted(titles, lines, faint=lambda number: logs and not requests[rules[number].route])
    if not unmatched:
        return table
    top = [[clean_bytes(target), f"{count:,}"] for target, count in unmatched.most_common(TOP)]
    return Group(table, "", fitted([Title("unmatched targets", is_name=True), Title("requests")], top))


def _used(info: RuleInfo, requests: Counter[Route]) -> str:
    if info.redirects:
        return "redirects"
    return f"{requests[info.route]:,}" if requests[info.route] else "never"
