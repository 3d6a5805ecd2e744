"""`check`: show how a log is understood: its format and why, sample lines field by field, what it lacks."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from logstatsd.cli.inputs import app_is_given, load_app
from logstatsd.cli.options import AppOptions, FormatOptions, Options, command, option, takes
from logstatsd.delivery.naming import Naming
from logstatsd.errors import InputError, LogstatsdError, OptionError
from logstatsd.formats.diagnose import explain_format, explain_unknown, first_mismatch
from logstatsd.formats.duration_advice import duration_advice, duration_line
from logstatsd.formats.envelopes import ENVELOPES
from logstatsd.formats.logformat import flat
from logstatsd.formats.presets import FORMATS
from logstatsd.formats.reader import unwrap
from logstatsd.formats.text_reader import parse_line
from logstatsd.formats.times import iso_logged
from logstatsd.model.route import Route
from logstatsd.routing.diagnose import explain_missing_host
from logstatsd.routing.router import Router
from logstatsd.routing.snapshot import KEY, VERSION
from logstatsd.scan.entries import Entry, StretchReader
from logstatsd.scan.logs import HEAD, Log, open_logs
from logstatsd.scan.settle import Settler
from logstatsd.scan.stretches import FormatChanges, Stretch, Stretches
from logstatsd.sources import source as sources
from logstatsd.text import clean, clean_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logstatsd.formats.logformat import LogFormat

LINES = 10_000
BYTES = 8 << 20
SHOWN = 3
LABEL = 10
"""Width of the labels on the left."""


@dataclass(frozen=True, kw_only=True)
class CheckOptions(Options):
    """What is checked."""

    list_formats: bool = option("--formats", is_flag=True, help="List the formats known by name.")


@command()
@click.argument("logs", metavar="LOG...", nargs=-1)
@takes(asked=CheckOptions, app=AppOptions, formats=FormatOptions)
def check(logs: tuple[str, ...], asked: CheckOptions, app: AppOptions, formats: FormatOptions) -> None:
    """Show the format that was found, sample lines field by field, and the rule and metric of each.

    \b
    logstatsd check access.log
    logstatsd check access.log --app myapp:app
    logstatsd check --formats
    """
    if asked.list_formats:
        _list_formats()
    elif logs:
        _check_logs(logs, app, formats)
    else:
        raise OptionError("give a log to check, or --formats")


def _list_formats() -> None:
    """Print the formats known by name, each with a line of it, and what may carry lines."""
    for name, preset in FORMATS.items():
        click.echo(f"{click.style(name, bold=True)}\n  {preset.log_format.layout}\n  {preset.sample}")
    click.echo("\nIn any of these formats, LINE may be carried by")
    for name, envelope in ENVELOPES.items():
        click.echo(f"{click.style(name, bold=True)}: {envelope.about}\n  {clean(envelope.sample)}")


def _check_logs(paths: tuple[str, ...], app: AppOptions, formats: FormatOptions) -> None:
    """Print what is found of each log. Raises InputError, FormatError, AppError."""
    router, settler = load_app(app) if app_is_given(app) else (None, Settler())
    failed: list[LogstatsdError] = []
    for number, source in enumerate(sources.find(paths)):
        click.echo(("\n" if number else "") + click.style(clean(source.name), bold=True))
        try:
            _check(source.name, router, settler, formats)
        except LogstatsdError as error:
            failed.append(error)
    for each in failed[:-1]:
        click.echo(f"logstatsd: {clean(str(each), 2_000)}", err=True)
    if failed:
        raise failed[-1]
    if router is None:
        click.echo("\nWith --app, the rule and the metric of each sample line are shown too.", err=True)


def _check(path: str, router: Router | None, settler: Settler, formats: FormatOptions) -> None:
    (log,) = open_logs((path,), log_format=formats.log_format, fields=formats.roles())
    if log.is_empty:
        raise InputError(f"{path}: empty; is this the file that the server writes to by now?")
    found = list(_entries(log, router))
    entries = [entry for entry, _ in found]
    read = [(entry, log_format) for entry, log_format in found if log_format]
    if not (entries and (log.choice.first or read)):
        lost = [] if entries else log.source.problems
        raise InputError(lost[0] if lost else explain_unknown([each.line for each in entries], path))
    log_format = log.choice.first or read[0][1]
    for line in _about(log, log_format, entries, router, given=bool(formats.log_format)):
        click.echo(line)
    for line in _changes(path, read):
        click.echo(line)
    naming = _naming(router)
    formats_of = dict(read)
    for entry in _telling([entry for entry, _ in read]):
        click.echo()
        for line in _sample(formats_of[entry], entry, settler, naming):
            click.echo(line)
    if not read:
        rejected = [(entry.rejected, entry.line) for entry in entries if entry.line.strip()]
        raise InputError(explain_format(path, log_format, rejected))
    if log.source.problems:
        raise InputError(log.source.problems[0])


def _entries(log: Log, router: Router | None) -> Iterator[tuple[Entry, LogFormat | None]]:
    """The entries of the first LINES lines, or BYTES of them, each with its format."""
    reader = StretchReader(log.choice, router or _no_router())
    left, left_bytes = LINES, BYTES
    began = False
    for chunk in sources.chunks(log.source, size=HEAD):
        data = chunk.read()
        blank = 0 if began else len(data) - len(data.lstrip())
        began = began or blank < len(data)
        if not began:  # a blank head says nothing, however long it is
            continue
        for found in reader.entries(data[blank:], chunk.offset + blank):
            yield found
            left, left_bytes = left - 1, left_bytes - len(found[0].line)
            if not left or left_bytes <= 0:
                return


def _changes(path: str, read: list[tuple[Entry, LogFormat]]) -> Iterator[str]:
    """Where the format changes among the lines that were looked at."""
    changes, current = FormatChanges(), None
    for entry, log_format in read:
        if log_format != current:
            current = log_format
            stretches = Stretches()
            stretches.begin(Stretch(log_format, 0, entry.offset, entry.time))
            for text in changes.note(path, 0, stretches, offset=0):
                yield from _row("change", text.removeprefix(f"{path}: "))
    for text in changes.summary():
        yield from _row("", text.removeprefix(f"{path}: "))


def _no_router() -> Router:
    return Router({KEY: VERSION, "app_name": "app", "mounts": []})


def _naming(router: Router | None) -> Naming | None:
    if router is None:
        return None
    return Naming(app_name=router.app_name)


# --- the log as a whole ---------------------------------------------------------------------------------


def _about(
    log: Log, log_format: LogFormat, entries: list[Entry], router: Router | None, *, given: bool
) -> Iterator[str]:
    """The format, and what of it matters here."""
    found = log.detected
    if found and found.note and given:
        why = found.note
    elif given:
        why = "as given"
    else:
        why = f"fits {found.fitting:,} of the first {found.looked_at:,} lines" if found else ""
    yield from _row("format", f"{log_format.name}: {why}")
    yield from _row("", clean(log_format.layout, 2_000))
    for name in log_format.envelopes:
        yield from _row("carried by", ENVELOPES[name].about)
    if found and found.note and found.note != why:
        yield from _row("note", found.note)
    yield from _durations(log_format, entries)
    time = log_format.chosen.get("time")
    zone = f", offset {log.zone.tzname(None)}" if log.zone else ", no offset: taken as UTC"
    yield from _row("time", f"{_spelled(log_format, time.name)}{zone}" if time else "none in this format")
    if router and router.uses_host:
        host = log_format.chosen.get("host")
        missing = f"none: {explain_missing_host(router)}"
        yield from _row("host", _spelled(log_format, host.name) if host else missing)
    yield from _rejections(log_format, entries)


def _spelled(log_format: LogFormat, name: str) -> str:
    if log_format.is_json:
        return next((key for key, token in log_format.keys if token.name == name), name)
    return log_format.rules.spelled.format(name)


def _durations(log_format: LogFormat, entries: list[Entry]) -> Iterator[str]:
    chosen = log_format.chosen.get("duration")
    if chosen is None:
        yield from _row("duration", "none in this format: requests and errors are counted, but not timed")
        yield from _remedy(log_format)
        return
    untimed = sum(entry.duration_us is None for entry in entries if not entry.rejected)
    without = f"; {untimed:,} of these lines have none" if untimed else ""
    yield from _row("duration", log_format.duration_source + without)
    others = [
        token.name
        for token in log_format.variables
        if token.field.role == "duration" and token.name != chosen.name
    ]
    if others:
        named = " or ".join(_spelled(log_format, name) for name in others)
        yield from _row("", f"(or, with --time-field, {named})")


def _remedy(log_format: LogFormat) -> Iterator[str]:
    """What to put into the server's configuration."""
    where, line = duration_line(log_format)
    if where:
        yield from _row("", f"to have them, put into {where}:")
        yield " " * (LABEL + 2) + clean(line, 4_000)
    else:
        yield from _row("", f"to have them, {duration_advice(log_format)}")


def _rejections(log_format: LogFormat, entries: list[Entry]) -> Iterator[str]:
    rejected = [entry for entry in entries if entry.rejected]
    yield from _row("lines", f"{len(entries):,} looked at, {len(rejected) or 'none'} rejected")
    reasons: Counter[str] = Counter()
    first: dict[str, tuple[Entry, int | None]] = {}
    for entry in rejected:
        reason, column = entry.rejected, None
        if reason == "no match" and not log_format.is_json:
            column, wanted = first_mismatch(log_format, entry.line)
            reason = f"no {wanted} where one should be"
        reasons[reason] += 1
        first.setdefault(reason, (entry, column))
    for reason, count in reasons.most_common(SHOWN):
        entry, column = first[reason]
        where = "" if column is None else f"column {column + 1} of "
        yield from _row("", f"{count:,}: {reason}; first in {where}the line at byte {entry.offset:,}:")
        yield from _pointed(unwrap(entry.line + b"\n", log_format.envelopes)[:-1], column)
    if len(reasons) > SHOWN:
        yield from _row("", f"and {len(reasons) - SHOWN:,} other reasons")


def _pointed(line: bytes, column: int | None) -> Iterator[str]:
    """A line, or the part of it about a column, and an arrow to that."""
    room = _width() - LABEL - 4
    start = max(0, (column or 0) - room * 2 // 3)
    before = clean_bytes(line[start:column], room) if column is not None else ""
    shown = before + clean_bytes(line[column or 0 :], max(room - len(before), 8))
    if shown:
        yield " " * (LABEL + 2) + ("…" if start else "") + shown
    if column is not None:
        yield " " * (LABEL + 2 + len(before) + bool(start)) + "^"


# --- sample lines ---------------------------------------------------------------------------------------


def _telling(entries: list[Entry]) -> list[Entry]:
    """A few entries that differ: in outcome, in method, in whether the status is an error."""
    found: dict[tuple[object, ...], Entry] = {}
    for entry in sorted(entries[:1_000], key=lambda entry: entry.method == "-"):
        outcome = entry.route.outcome if isinstance(entry.route, Route) else "matched"
        found.setdefault((outcome, entry.method, entry.status // 100), entry)
    return sorted([*found.values()][:SHOWN], key=lambda entry: entry.offset)


def _sample(log_format: LogFormat, entry: Entry, settler: Settler, naming: Naming | None) -> Iterator[str]:
    yield click.style(f"  the line at byte {entry.offset:,}", bold=True)
    by_name = {token.name: role for role, token in reversed(log_format.chosen.items())}
    fields = [*_fields(log_format, entry.line)]
    column = min(max((len(spelled) for spelled, _, _ in fields), default=0), 24)
    for spelled, name, value in fields:
        text = f"{spelled:<{column}}  {clean_bytes(value, max(_width() - LABEL - 4 - column, 8))}"
        yield f"  {by_name.get(name, ''):<{LABEL}}{text}".rstrip()
    took = "no duration" if entry.duration_us is None else f"{entry.duration_us / 1_000:,.3f} ms"
    when = iso_logged(entry.time) or "no time"
    said = f"{entry.method} {clean_bytes(entry.target)}, {entry.status}, {took}, {when}"
    yield from _row("read as", said)
    if naming and entry.route:
        proven = isinstance(entry.route, Route)
        route = entry.route if isinstance(entry.route, Route) else settler.route(entry.route)[0]
        metric = naming.metrics(route, entry.method, entry.status)[0]
        yield from _row("rule", clean(route.rule) + ("" if proven else " (as the app's converter decides)"))
        yield from _row("metric", f"{metric.name} {' '.join(metric.tags)}")


def _fields(log_format: LogFormat, line: bytes) -> Iterator[tuple[str, str, bytes]]:
    """Each variable of a line: as the format spells it, its bare name, its value."""
    line = unwrap(line + b"\n", log_format.envelopes)
    if not log_format.is_json:
        for name, value in (parse_line(log_format, line) or {}).items():
            yield log_format.rules.spelled.format(name), name, value
        return
    names = {key: token.name for key, token in log_format.keys}
    try:
        item = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return
    for key, member in flat(item):
        yield key, names.get(key, ""), ("" if member is None else str(member)).encode("utf-8", "replace")


def _row(label: str, text: str) -> list[str]:
    """A label and a text, wrapped to the terminal's width."""
    indent = " " * (LABEL + 2)
    lines = textwrap.wrap(text, _width() - len(indent), break_long_words=False, break_on_hyphens=False) or [
        ""
    ]
    return [f"  {label:<{LABEL}}{lines[0]}", *(indent + line for line in lines[1:])]


def _width() -> int:
    return max(shutil.get_terminal_size((100, 24)).columns, 50)
