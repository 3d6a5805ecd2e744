"""What every command does: load the app, open the logs, run over them, and say what became of the lines."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from logstatsd.errors import FormatError, InputError, OptionError
from logstatsd.options import is_terminal, roles, say
from logstatsd.text import clean_bytes

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Iterator

    from logstatsd.formats import LogFormat
    from logstatsd.pipeline import Log, Piece, Run, Settler
    from logstatsd.routes import Router

WIDE = 240
"""Columns that a table may take where no terminal limits it."""
PROGRESS_ABOVE = 64 << 20
"""Bytes of log from which on a terminal is shown how far a run has come."""


def app_is_given(given: dict[str, Any]) -> bool:
    """Whether the user named an app or a snapshot, in any of the ways there are."""
    info = click.get_current_context().find_root().obj
    return bool(given["apps"] or given["routes"] or os.environ.get("FLASK_APP") or hasattr(info, "load_app"))


PRECEDENCE = ("COMMANDLINE", "FLASK", "ENVIRONMENT", "DEFAULT_MAP")
"""Where an option may come from; the configuration file is click's default map."""


def _chosen_app(given: dict[str, Any]) -> str:
    """What names the app: `apps`, `routes`, `flask` (the command), or "" for nothing. Raises OptionError."""
    context = click.get_current_context()
    places = {
        name: getattr(context.get_parameter_source(name), "name", "")
        for name in ("apps", "routes")
        if given[name]
    }
    if getattr(context.find_root().obj, "app_import_path", None):
        places["flask"] = "FLASK"
    if len(set(places.values())) < len(places):
        raise OptionError("--app and --routes: give one of them")
    return min(places, key=lambda name: PRECEDENCE.index(places[name]), default="")


def load_app(given: dict[str, Any]) -> tuple[Router, Settler]:
    """The Router, and what settles what it leaves undecided: from the snapshot or the app."""
    from logstatsd.pipeline import Settler  # noqa: PLC0415
    from logstatsd.routes import Router, read_snapshot  # noqa: PLC0415

    chosen = _chosen_app(given)
    prefix = {name: given[name] for name in ("strip_prefix", "normalised_prefix")}
    if chosen == "routes":
        return Router(read_snapshot(given["routes"]), **prefix), Settler()
    from logstatsd import apps as loading  # noqa: PLC0415

    info = click.get_current_context().find_root().obj
    ours = chosen == "apps" or not hasattr(info, "load_app")
    app = loading.load(given["apps"]) if ours else loading.from_flask_cli(info)
    return Router(app.snapshot(), **prefix), Settler(None if given["no_converters"] else app)


def _open(paths: tuple[str, ...], given: dict[str, Any], router: Router) -> list[Log]:
    """Find the logs and their formats, and say what a person should know of them."""
    from logstatsd.pipeline import open_logs  # noqa: PLC0415

    assigned = roles(given["fields"], given["time_field"], given["host_header"])
    logs = open_logs(paths, log_format=given["log_format"], fields=assigned)
    for log in logs:
        if log.detected is None:
            say(f"{log.source.name}: empty", quiet=given["quiet"])
        elif log.detected.note:
            say(f"{log.source.name}: {log.detected.note}", quiet=given["quiet"])
    found = [log.log_format for log in logs if log.detected]
    if router.uses_host and any("host" not in log_format.chosen for log_format in found):
        say(
            "the app's rules depend on the host, which the log does not have: add $http_host or "
            "%({host}i)s to its format; until then those rules match nothing"
        )
    return logs


def followed(paths: tuple[str, ...]) -> list[str]:
    """The logs to read on, by absolute path and each once; a pattern stands for those there are.

    Raises OptionError for stdin, and for a rotated file beside its log: its lines would be sent again at the
    next rotation, under its next name.
    """
    import glob  # noqa: PLC0415

    from logstatsd.generations import is_generation  # noqa: PLC0415

    if "-" in paths:
        raise OptionError("--resume and --follow: only a file can be read on from where a run stopped")
    found = (match for path in paths for match in sorted(glob.glob(path)) or [path])  # noqa: PTH207
    logs = list(dict.fromkeys(map(os.path.abspath, found)))
    for one, other in itertools.permutations(map(Path, logs), 2):
        if one.parent == other.parent and is_generation(other.name, one.name):
            raise OptionError(f"{other}: is read as a rotated file of {one.name} already; leave it out")
    return logs


def format_of(log: str, lines: bytes, given: dict[str, Any], known: LogFormat | None = None) -> LogFormat:
    """The format given, or the one known of an earlier run, or the one that first lines fit.

    Raises FormatError.
    """
    from logstatsd.detect import detect  # noqa: PLC0415

    assigned = roles(given["fields"], given["time_field"], given["host_header"])
    found = None if given["log_format"] else known
    if found is None:
        detected = detect(lines, log, given=given["log_format"], fields=assigned)
        if detected.note:
            say(f"{log}: {detected.note}", quiet=given["quiet"])
        found = detected.log_format
    for role, name in assigned.items():
        found = found.assign(role, name)
    return found


def open_run(paths: tuple[str, ...], router: Router, given: dict[str, Any], **kwargs: Any) -> Run:
    """Open the logs for one pass. Raises InputError, FormatError, OptionError."""
    from datetime import datetime  # noqa: PLC0415

    from logstatsd.pipeline import Run  # noqa: PLC0415
    from logstatsd.window import window  # noqa: PLC0415

    logs = _open(paths, given, router)
    zone = next((log.zone for log in logs if log.zone), None)
    now = datetime.now(zone).astimezone(zone)
    return Run(logs, router, window=window(given["since"], given["until"], now), jobs=given["jobs"], **kwargs)


def tallies(
    run: Run, settler: Settler, *, quiet: bool, pieces: Iterable[Piece] | None = None
) -> Iterator[Piece]:
    """The run's tallies, decided, with a progress bar where somebody waits in front of a terminal."""
    total = sum(log.source.total_bytes() or 0 for log in run.logs)
    with _progress(total if is_terminal() and not quiet else 0) as advance:
        for piece in pieces or run.pieces():
            settler.settle(piece.batch)
            advance(sum(log.source.done_bytes() for log in run.logs))
            yield piece


@contextlib.contextmanager
def _progress(total_bytes: int) -> Iterator[Callable[[int], None]]:
    if total_bytes < PROGRESS_ABOVE:
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn  # noqa: PLC0415

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total_bytes)
        yield lambda done: progress.update(task, completed=done)


def account(
    run: Run, settler: Settler, rejected: Counter[str], samples: list[tuple[str, bytes]], lines: int
) -> None:
    """Say on stderr what was rejected, what was lost of damaged files, and what could not be proven."""
    for log in run.logs:
        for problem in log.source.problems:
            say(problem)
    say_rejected(rejected, samples, lines)
    say_unproven(settler)


def say_rejected(rejected: Counter[str], samples: list[tuple[str, bytes]], lines: int) -> None:
    """Say how many lines were rejected, why, and what the first look like."""
    if rejected:
        why = ", ".join(f"{reason} {count:,}" for reason, count in sorted(rejected.items()))
        say(f"{rejected.total():,} of {lines:,} lines rejected: {why}")
        for reason, line in samples[:3]:
            say(f"  {reason}: {clean_bytes(line)}")


def say_unproven(settler: Settler) -> None:
    """Say which requests keep a rule that only the app could have proven."""
    if settler.unproven:
        rules = ", ".join(f"{rule} ({count:,})" for rule, count in sorted(settler.unproven.items())[:5])
        asked = "could not be asked" if settler.app else "were not asked, as the app is not loaded"
        say(f"{sum(settler.unproven.values()):,} requests keep a rule whose converters {asked}: {rules}")


def nothing_fits(run: Run, lines: int, parsed: int, outside: int, samples: list[tuple[str, bytes]]) -> None:
    """Raise FormatError where not one line fitted its format."""
    if lines and not parsed and not outside:
        from logstatsd.misfits import misfit  # noqa: PLC0415

        log = next(log for log in run.logs if log.detected)
        raise FormatError(misfit(log.source.name, log.log_format, samples))


def show(shown: Any, output: str | None) -> None:
    """Print text or a rich renderable to stdout or to a file. Raises InputError."""
    try:
        with click.open_file(output, "w", encoding="utf-8") if output else contextlib.nullcontext() as file:
            if isinstance(shown, str):
                click.echo(shown, file=file)
                return
            from rich.console import Console  # noqa: PLC0415

            if file is None and sys.stdout.isatty():
                Console(highlight=False).print(shown)
                return
            text, columns = io.StringIO(), os.environ.get("COLUMNS", "")
            width = int(columns) if columns.isdigit() and int(columns) else WIDE
            plain = False if file else None
            Console(file=text, force_terminal=plain, width=width, highlight=False).print(shown)
            click.echo("\n".join(line.rstrip() for line in text.getvalue().splitlines()), file=file)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"{output or 'stdout'}: cannot be written: {error.strerror}") from None


@contextlib.contextmanager
def screen(shown: Callable[[], Any], every_s: float = 1.0) -> Iterator[Callable[[], None]]:
    """A terminal's whole screen for `shown()`, drawn anew at most that often; nothing elsewhere."""
    if not sys.stdout.isatty():
        yield lambda: None
        return
    from rich.live import Live  # noqa: PLC0415

    drawn_s = 0.0
    with Live(screen=True, auto_refresh=False) as live:

        def refresh() -> None:
            nonlocal drawn_s
            if time.monotonic() - drawn_s >= every_s:
                live.update(shown(), refresh=True)
                drawn_s = time.monotonic()

        yield refresh


_ADVICE = {
    "nginx": "add $request_time to nginx's log_format, or %(D)s to gunicorn's access_log_format",
    "gunicorn": "add %(D)s (microseconds) to gunicorn's access_log_format",
    "apache": "add %D (microseconds) to Apache's LogFormat",
}


def advice(log_format: LogFormat) -> str:
    """What to add to the server's configuration so that its log has durations."""
    return _ADVICE.get(log_format.server, _ADVICE["nginx"])
