"""What `check` tells of a log: its format and why, sample lines field by field, and what is missing."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from logstatsd import sources
from logstatsd.detect import furthest
from logstatsd.labels import Route
from logstatsd.options import roles
from logstatsd.patterns import parse_line
from logstatsd.pipeline import HEAD, Log, Settler, open_logs
from logstatsd.presets import FORMATS, NGINX_COMBINED
from logstatsd.rows import Entry, LineReader, iso
from logstatsd.session import app_is_given, load_app
from logstatsd.text import clean, clean_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logstatsd.formats import LogFormat
    from logstatsd.naming import Naming
    from logstatsd.routes import Router

LINES = 10_000
SHOWN = 3
FIX = {
    "nginx": f"log_format timed '{NGINX_COMBINED} $request_time'; access_log … timed;",
    "gunicorn": 'access_log_format = \'%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" %(D)s\'',
    "apache": 'LogFormat "%h %l %u %t \\"%r\\" %>s %b \\"%{Referer}i\\" \\"%{User-Agent}i\\" %D" timed',
    "json": 'nginx: "request_time": "$request_time" in the log_format; gunicorn: "duration_us": %(D)s',
}
WHERE = {"nginx": "nginx.conf", "gunicorn": "gunicorn.conf.py", "apache": "httpd.conf", "json": "its format"}


def list_formats() -> None:
    """Print the formats known by name, each with a line of it."""
    for name, preset in FORMATS.items():
        click.echo(f"{name}\n  {preset.log_format.layout}\n  {preset.sample}")


def check_logs(paths: tuple[str, ...], given: dict[str, Any]) -> None:
    """Print what is found of each log. Raises InputError, FormatError, AppError."""
    assigned = roles(given["fields"], given["time_field"], given["host_header"])
    router, settler = load_app(given) if app_is_given(given) else (None, Settler())
    for log in open_logs(paths, log_format=given["log_format"], fields=assigned):
        for line in _told(log, router, settler, given):
            click.echo(line)


def _told(log: Log, router: Router | None, settler: Settler, given: dict[str, Any]) -> Iterator[str]:
    yield click.style(clean(log.source.name), bold=True)
    if log.detected is None:
        yield "  empty"
        return
    log_format = log.log_format
    why = "as given" if given["log_format"] else "found by its first lines"
    if log.detected.looked_at:
        why += f", of which {log.detected.fitting:,} of {log.detected.looked_at:,} fit"
    yield f"  format    {log_format.name} ({why})"
    yield f"  layout    {clean(log_format.layout, 400)}"
    if log.detected.note:
        yield f"  note      {log.detected.note}"
    yield f"  duration  {log_format.duration_source or 'none'}"
    if not log_format.duration_source:
        server = log_format.server
        yield f"  to have durations, put into {WHERE[server]}:"
        yield f"    {FIX[server]}"
    entries = list(_entries(log, router))
    naming = _naming(router)
    for entry in [entry for entry in entries if not entry.rejected][:SHOWN]:
        yield from _sample(log_format, entry, settler, naming)
    yield from _rejections(log_format, entries)


def _entries(log: Log, router: Router | None) -> Iterator[Entry]:
    """The entries of the first LINES lines."""
    reader = LineReader(log.log_format, router or _no_router())
    left = LINES
    for chunk in sources.chunks(log.source, size=HEAD):
        for entry in reader.entries(chunk.read(), chunk.offset):
            yield entry
            left -= 1
            if not left:
                return


def _no_router() -> Router:
    from logstatsd.routes import Router  # noqa: PLC0415
    from logstatsd.snapshot import KEY, VERSION  # noqa: PLC0415

    return Router({KEY: VERSION, "app_name": "app", "mounts": []})


def _naming(router: Router | None) -> Naming | None:
    if router is None:
        return None
    from logstatsd.naming import Naming  # noqa: PLC0415

    return Naming(app_name=router.app_name)


def _sample(log_format: LogFormat, entry: Entry, settler: Settler, naming: Naming | None) -> Iterator[str]:
    yield f"  line at byte {entry.offset:,}"
    for name, value in _fields(log_format, entry.line).items():
        yield f"    {name:<20} {clean_bytes(value)}"
    took = "none" if entry.duration_us is None else f"{entry.duration_us:,} µs"
    yield f"    -> {entry.method} {clean_bytes(entry.target)} {entry.status}, {iso(entry.time)}, took {took}"
    if naming and entry.route:
        route = entry.route if isinstance(entry.route, Route) else settler.route(entry.route)[0]
        metric = naming.metrics(route, entry.method, entry.status)[0]
        yield f"    -> rule {clean(route.rule)}"
        yield f"    -> {metric.name} {' '.join(metric.tags)}"


def _fields(log_format: LogFormat, line: bytes) -> dict[str, bytes]:
    if not log_format.is_json:
        return parse_line(log_format, line) or {}
    try:
        item = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    return {key: str(value).encode("utf-8", "replace") for key, value in item.items()}


def _rejections(log_format: LogFormat, entries: list[Entry]) -> Iterator[str]:
    rejected = [entry for entry in entries if entry.rejected]
    yield f"  rejected  {len(rejected):,} of the first {len(entries):,} lines"
    stops: Counter[str] = Counter()
    first: dict[str, bytes] = {}
    for entry in rejected:
        where = entry.rejected
        if where == "no match" and not log_format.is_json:
            column, wanted = furthest(log_format, entry.line[:4_096])
            where = f"stops at column {column + 1}, where it wants {wanted}"
        stops[where] += 1
        first.setdefault(where, entry.line)
    for where, count in stops.most_common(SHOWN):
        yield f"    {count:,}: {where}: {clean_bytes(first[where])}"
