"""What `routes` and `normalize` do."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from logstatsd.errors import InputError
from logstatsd.labels import Route, Undecided
from logstatsd.session import account, load_app, open_run, show, tallies
from logstatsd.summary import Excluded, Summary
from logstatsd.text import clean_bytes

if TYPE_CHECKING:
    from logstatsd.pipeline import Run
    from logstatsd.routes import RuleInfo

TOP = 10
"""How many unmatched targets are listed."""


def write_snapshot(given: dict[str, Any], output: str) -> None:
    """Write the app's routes to a file, or to stdout for `-`. Raises InputError."""
    from logstatsd.routes import dump_snapshot  # noqa: PLC0415

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
        for piece in tallies(run, settler, quiet=given["quiet"]):
            summary.add(piece.batch)
        for (route, _), group in summary.groups.items():
            requests[route] += group.requests
        unmatched = _unmatched_targets(run)
        if not given["quiet"]:
            account(run, settler, summary.rejections, summary.span.samples, summary.lines)
    rules = [info for info in router.rules if not (given["unused"] and requests[info.route])]
    if given["as_json"]:
        text = json.dumps(_as_json(rules, requests, unmatched, logs=bool(paths)), indent=2)
        show(text, given["output"])
    else:
        show(_table(rules, requests, unmatched, logs=bool(paths)), given["output"])


def _unmatched_targets(run: Run) -> Counter[bytes]:
    from logstatsd.rows import CountTargets  # noqa: PLC0415

    counts: Counter[bytes] = Counter()
    for found in run.over(CountTargets(run.formats, run.router, run.window)):
        counts.update(found)
        if len(counts) > 100_000:  # a flood of distinct targets: keep those that may still be on top
            counts = Counter(dict(counts.most_common(10_000)))
    return counts


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
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in ("rule", "methods", "endpoint", "converters"):
        table.add_column(title, overflow="fold")
    if logs:
        table.add_column("requests", justify="right")
    for info in rules:
        count = requests[info.route]
        cells = [info.route.rule, _methods(info), info.endpoint, _converters(info)]
        cells += [f"{count:,}" if count else "never"] if logs else []
        table.add_row(*map(Text, cells), style="dim" if logs and not count else "")
    if not unmatched:
        return table
    top = Table(box=SIMPLE_HEAD, pad_edge=False)
    top.add_column("unmatched targets", overflow="fold")
    top.add_column("requests", justify="right")
    for target, count in unmatched.most_common(TOP):
        top.add_row(Text(clean_bytes(target)), f"{count:,}")
    return Group(table, top)


def normalize_lines(paths: tuple[str, ...], given: dict[str, Any]) -> None:
    """Print one JSON object a log line, in order."""
    from logstatsd.rows import Normalize, as_line  # noqa: PLC0415

    router, settler = load_app(given)
    run = open_run(paths, router, given)
    work = Normalize(run.formats, router, run.window, target=given["target"])
    for path, parts in run.over(work):
        for part in parts:
            if isinstance(part, str):
                sys.stdout.write(part)
            elif isinstance(part.route, Undecided):
                route, _ = settler.route(part.route)
                sys.stdout.write(as_line(path, part, route, target=given["target"]))
        sys.stdout.flush()  # of a live stream, each chunk is what it has said so far
    for log in run.logs:
        for problem in log.source.problems:
            click.echo(problem, err=True)
