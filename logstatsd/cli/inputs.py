"""What every command does: load the app, open the logs, run over them, and say what became of the lines."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from logstatsd.cli.console import _progress, is_terminal, say
from logstatsd.cli.options import roles
from logstatsd.errors import FormatError, OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from logstatsd.formats.logformat import LogFormat
    from logstatsd.routing.router import Router
    from logstatsd.scan.run import Log, Piece, Run
    from logstatsd.scan.settle import Settler


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
    from logstatsd.routing.router import Router  # noqa: PLC0415
    from logstatsd.routing.snapshot import read_snapshot  # noqa: PLC0415
    from logstatsd.scan.settle import Settler  # noqa: PLC0415

    chosen = _chosen_app(given)
    prefix = {name: given[name] for name in ("strip_prefix", "normalised_prefix")}
    if chosen == "routes":
        return Router(read_snapshot(given["routes"]), **prefix), Settler()
    from logstatsd.routing import app as loading  # noqa: PLC0415

    info = click.get_current_context().find_root().obj
    ours = chosen == "apps" or not hasattr(info, "load_app")
    app = loading.load(given["apps"]) if ours else loading.from_flask_cli(info)
    return Router(app.snapshot(), **prefix), Settler(None if given["no_converters"] else app)


def _open(paths: tuple[str, ...], given: dict[str, Any], router: Router) -> list[Log]:
    """Find the logs and their formats, and say what a person should know of them."""
    from logstatsd.scan.run import open_logs  # noqa: PLC0415

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

    from logstatsd.tail.rotated import is_rotated  # noqa: PLC0415

    if "-" in paths:
        raise OptionError("--resume and --follow: only a file can be read on from where a run stopped")
    found = (match for path in paths for match in sorted(glob.glob(path)) or [path])  # noqa: PTH207
    logs = list(dict.fromkeys(map(os.path.abspath, found)))
    for one, other in itertools.permutations(map(Path, logs), 2):
        if one.parent == other.parent and is_rotated(other.name, one.name):
            raise OptionError(f"{other}: is read as a rotated file of {one.name} already; leave it out")
    return logs


def format_of(log: str, lines: bytes, given: dict[str, Any], known: LogFormat | None = None) -> LogFormat:
    """The format given, or the one known of an earlier run, or the one that first lines fit.

    Raises FormatError.
    """
    from logstatsd.formats.detect import detect  # noqa: PLC0415

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

    from logstatsd.cli.when import window  # noqa: PLC0415
    from logstatsd.scan.run import Run  # noqa: PLC0415

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


def nothing_fits(run: Run, lines: int, parsed: int, outside: int, samples: list[tuple[str, bytes]]) -> None:
    """Raise FormatError where not one line fitted its format."""
    if lines and not parsed and not outside:
        from logstatsd.formats.diagnose import explain_format  # noqa: PLC0415

        log = next(log for log in run.logs if log.detected)
        raise FormatError(explain_format(log.source.name, log.log_format, samples))
