"""Open logs: find the files, and in which format each begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from logstatsd.errors import FormatError
from logstatsd.formats.detect import Detected, detect
from logstatsd.formats.known import FormatChoice
from logstatsd.formats.reader import reader_of
from logstatsd.formats.times import moment_s, zone_of
from logstatsd.sources import source as sources

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import tzinfo

    from logstatsd.formats.logformat import LogFormat

HEAD = 1 << 18
"""Bytes at the head of a log by which its format is found."""
BYTES_LOOKED_AT = 1 << 14
"""Bytes of them in which the first time is looked for."""
PLACES = 8
"""How many places of a file are looked at where its head fits no format."""


class Log(NamedTuple):
    """A log to read, and what was found of its format at its head; nothing where the head is blank."""

    source: sources.Source
    detected: Detected | None
    choice: FormatChoice
    is_empty: bool = False
    zone: tzinfo | None = None
    """The offset from UTC that its times are written with."""
    first_s: float | None = None
    """When its first line was written, in unix seconds."""
    beginning: bytes = b""
    """Some of its first lines."""

    @property
    def log_format(self) -> LogFormat:
        """The format in which it begins. Raises FormatError where that is not known."""
        if self.detected is None:
            raise FormatError(f"{self.source.name}: {'empty' if self.is_empty else 'its head is blank'}")
        return self.detected.log_format


def open_logs(
    paths: Sequence[str], *, log_format: str = "", fields: Mapping[str, str] | None = None
) -> list[Log]:
    """Find the logs and the format of each: the one given, or what its first lines fit.

    `fields` takes roles (`duration`, `host`, …) from variables or JSON keys other than the usual ones.
    Raises InputError and FormatError.
    """
    roles = dict(fields or {})
    return [_open(source, log_format, roles) for source in sources.find(paths)]


def _open(source: sources.Source, given: str, roles: dict[str, str]) -> Log:
    head = sources.head(source, HEAD)
    choice = FormatChoice(None, fixed=bool(given), roles=tuple(roles.items()))
    if not head.strip() and not (head and given):
        return Log(source, None, choice, is_empty=not head and not source.problems)
    try:
        found = detect(head, source.name, given=given, fields=roles)
    except FormatError:
        if given or (elsewhere := _elsewhere(source, roles)) is None:
            raise
        found = elsewhere
    chosen = found.log_format
    for role, name in roles.items():
        chosen = chosen.assign(role, name)
    chosen.validate()
    moments = map(line_time(chosen), head[:BYTES_LOOKED_AT].splitlines())
    return Log(
        source,
        found._replace(log_format=chosen),
        choice._replace(first=chosen),
        zone=_zone(head, chosen),
        first_s=next((moment for moment in moments if moment is not None), None),
        beginning=head[: head.rfind(b"\n", 0, BYTES_LOOKED_AT) + 1] or head[:BYTES_LOOKED_AT],
    )


def _elsewhere(source: sources.Source, roles: Mapping[str, str]) -> Detected | None:
    """The format of lines further on in a plain file, whose head may be what something else wrote."""
    size = source.total_bytes()
    if source.kind != "plain" or not size or size <= HEAD:
        return None
    for place in range(1, PLACES + 1):
        lines = sources.lines_at(source, place * size // (PLACES + 1), HEAD // PLACES)
        try:
            found = detect(lines, source.name, fields=roles)
        except FormatError:
            continue
        return found._replace(note="its first lines fit no format; that of later ones is taken")
    return None


def _zone(head: bytes, log_format: LogFormat) -> tzinfo | None:
    reader = reader_of(log_format, ("time", "status"))
    if "time" not in reader.columns:
        return None
    column = reader.columns.index("time")
    times = (row[column] for row in reader.rows(head[:BYTES_LOOKED_AT].rpartition(b"\n")[0] + b"\n"))
    return zone_of(next(filter(None, times), b""))


def line_time(log_format: LogFormat | None) -> Callable[[bytes], float | None]:
    """A function that tells the time of one line, None where it has none."""
    reader = reader_of(log_format, ("time", "status")) if log_format else None
    if reader is None or "time" not in reader.columns:
        return lambda _: None
    column = reader.columns.index("time")

    def time_of(line: bytes) -> float | None:
        row = next(iter(reader.rows(line.rstrip(b"\r\n") + b"\n")), None)
        return moment_s(row[column]) if row else None

    return time_of
