"""Load the app and open the logs that a command is given."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

from logstatsd.cli.console import is_terminal, progress, say
from logstatsd.cli.options import FLASK, PRECEDENCE
from logstatsd.cli.when import window
from logstatsd.errors import FormatError, InputError, OptionError
from logstatsd.formats.diagnose import explain_format, explain_unknown
from logstatsd.model.filters import Excluded
from logstatsd.model.route import FIXED
from logstatsd.routing import app_process
from logstatsd.routing.diagnose import explain_missing_host
from logstatsd.routing.router import Router
from logstatsd.routing.snapshot import read_snapshot
from logstatsd.scan.logs import open_logs
from logstatsd.scan.run import Run
from logstatsd.scan.settle import Settler

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from logstatsd.cli.options import AppOptions, FormatOptions, RunOptions
    from logstatsd.model.line_counts import LineCounts
    from logstatsd.model.route import Undecided
    from logstatsd.scan.logs import Log
    from logstatsd.scan.run import Piece
    from logstatsd.scan.stretches import Stretches


def app_is_given(app: AppOptions) -> bool:
    """Whether the user named an app or a snapshot, in any of the ways there are."""
    return bool(app.apps or app.routes or os.environ.get("FLASK_APP") or app.flask)


def _chosen_app(app: AppOptions) -> str:
    """What names the app: `apps`, `routes`, `flask` (the command), or "" for nothing. Raises OptionError."""
    places = {name: app.origins.get(name, "DEFAULT") for name in ("apps", "routes") if getattr(app, name)}
    if getattr(app.flask, "app_import_path", None):
        places["flask"] = FLASK
    if len(set(places.values())) < len(places):
        raise OptionError("--app and --routes: give one of them")
    return min(places, key=lambda name: PRECEDENCE.index(places[name]), default="")


def load_app(app: AppOptions) -> tuple[Router, Settler]:
    """The Router, and what settles what it leaves undecided: from the snapshot or the app."""
    chosen = _chosen_app(app)
    prefix: dict[str, Any] = {
        "strip_prefix": app.strip_prefix,
        "normalised_prefix": app.normalised_prefix,
    }
    if chosen == "routes" and app.routes:
        return Router(read_snapshot(app.routes), **prefix), Settler()
    ours = chosen == "apps" or app.flask is None
    budget: dict[str, Any] = {"converter_timeout_s": app.converter_timeout, "on_slow": _say_slow}
    loaded = app_process.load(app.apps, **budget) if ours else app_process.from_flask_cli(app.flask, **budget)
    app.at_end(loaded.close)
    if app.no_converters:
        loaded.close()
    return Router(loaded.snapshot(), **prefix), Settler(None if app.no_converters else loaded)


def _say_slow(question: Undecided, waited_s: float) -> None:
    say(
        f"the app's converters are slow to answer: {waited_s:.1f} s so far, now for {question.fallback.rule};"
        " --no-converters does not ask them, and keeps their rules"
    )


def _open(paths: tuple[str, ...], formats: FormatOptions, router: Router, *, quiet: bool) -> list[Log]:
    """Find the logs and their formats, and say what a person should know of them."""
    logs = open_logs(paths, log_format=formats.log_format, fields=formats.roles())
    for log in logs:
        if log.is_empty:
            say(f"{log.source.name}: empty", quiet=quiet)
        elif log.detected and log.detected.note:
            say(f"{log.source.name}: {log.detected.note}", quiet=quiet)
    found = [log.log_format for log in logs if log.detected]
    if any("host" not in log_format.chosen for log_format in found) and (
        missing := explain_missing_host(router)
    ):
        say(missing)
    return logs


def open_run(
    paths: tuple[str, ...],
    router: Router,
    formats: FormatOptions,
    lines: RunOptions,
    *,
    quiet: bool,
    batch_lines: int = 0,
    bucket_s: int = 0,
) -> Run:
    """Open the logs for one pass. Raises InputError, FormatError, OptionError."""
    logs = _open(paths, formats, router, quiet=quiet)
    tell_idle_exclusions(lines, router)
    zone = next((log.zone for log in logs if log.zone), None)
    asked = window(lines.since, lines.until, datetime.now(zone).astimezone(zone))
    return Run(
        logs,
        router,
        window=asked,
        bucket_s=bucket_s,
        lines=batch_lines,
        jobs=lines.jobs,
        engine=lines.engine,
        fast=lines.fast,
        scanner=lines.chosen_scanner,
    )


def tell_idle_exclusions(lines: RunOptions, router: Router) -> None:
    """Say which patterns to exclude fit nothing that the app has."""
    for pattern in Excluded(lines.exclude).unknown((*router.routes, *FIXED)):
        say(f"--exclude {pattern}: no rule, endpoint or outcome fits it; see `logstatsd routes`")


def tallies(
    run: Run, settler: Settler, *, quiet: bool, pieces: Iterable[Piece] | None = None
) -> Iterator[Piece]:
    """The run's tallies, decided, with a progress bar where somebody waits in front of a terminal."""
    total = sum(log.source.total_bytes() or 0 for log in run.logs)
    with progress(total if is_terminal() and not quiet else 0) as advance:
        for piece in pieces or run.pieces():
            settler.settle(piece.batch)
            tell_changes(run, piece.path, piece.batch.counts.lines, piece.stretches, quiet=quiet)
            advance(sum(log.source.done_bytes() for log in run.logs))
            yield piece


def tell_changes(run: Run, path: str, lines: int, stretches: Stretches, *, quiet: bool) -> None:
    """Say where the format of a log changes; `lines` and `stretches` are those of its next piece."""
    for text in run.changes.note(path, lines, stretches, numbered=not run.skipped_bytes):
        say(text, quiet=quiet)


def tell_losses(run: Run, counts: LineCounts) -> int:
    """Say what could not be read, however quiet the run; returns the exit code for that, 0 for nothing lost.

    To be called once all has been read; from then on `counts` have it too.
    """
    for log in run.logs:
        counts.lost += log.source.problems
    for text in counts.lost:
        say(text)
    return InputError.exit_code if counts.lost else 0


def refuse_misfits(run: Run, counts: LineCounts) -> None:
    """Raise FormatError where not one line fitted its format."""
    if not counts.none_fit:
        return
    for log in run.logs:
        if log.detected:
            raise FormatError(explain_format(log.source.name, log.log_format, counts.samples))
    raise FormatError(explain_unknown([line for _, line in counts.samples], run.logs[0].source.name))
