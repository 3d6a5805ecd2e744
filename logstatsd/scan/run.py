"""From paths and an app to settled Batches: what `report`, `replay` and the others have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import mul
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from logstatsd import engine
from logstatsd.errors import FormatError
from logstatsd.formats.detect import Detected, detect
from logstatsd.formats.reader import reader_of
from logstatsd.formats.times import moment_s, zone_of
from logstatsd.scan.scanner import Scanner
from logstatsd.sources import source as sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import tzinfo

    from logstatsd.formats.logformat import LogFormat
    from logstatsd.model.batch import Batch, Window
    from logstatsd.routing.router import Router

Result = TypeVar("Result")

SERIAL_BELOW = 12 << 20
"""Worker processes take longer to start than this many bytes take to scan."""
PACKED = 10
"""About how many times larger a log is than its compressed file."""
HEAD = 1 << 18


class Log(NamedTuple):
    """A log to read, and what was found of its format; an empty log has none."""

    source: sources.Source
    detected: Detected | None
    zone: tzinfo | None = None
    """The offset from UTC that its times are written with."""
    first_s: float | None = None
    """When its first line was written, in unix seconds."""

    @property
    def log_format(self) -> LogFormat:
        if self.detected is None:
            raise FormatError(f"{self.source.name}: empty")
        return self.detected.log_format


def open_logs(
    paths: Sequence[str],
    *,
    log_format: str = "",
    fields: Mapping[str, str] | None = None,
) -> list[Log]:
    """Find the logs and the format of each: the one given, or what its first lines fit.

    `fields` takes roles (`duration`, `host`, …) from variables or JSON keys other than the usual ones.
    Raises InputError and FormatError.
    """
    logs = []
    for source in sources.find(paths):
        head = sources.head(source, HEAD)
        if not head.strip():
            logs.append(Log(source, None))
            continue
        found = detect(head, source.name, given=log_format, fields=fields)
        chosen = found.log_format
        for role, name in (fields or {}).items():
            chosen = chosen.assign(role, name)
        _ = chosen.chosen
        moments = map(_line_time(chosen), head[: 1 << 14].splitlines())
        first_s = next((moment for moment in moments if moment is not None), None)
        logs.append(Log(source, found._replace(log_format=chosen), _zone(head, chosen), first_s))
    return logs


def _zone(head: bytes, log_format: LogFormat) -> tzinfo | None:
    reader = reader_of(log_format, ("time", "status"))
    if "time" not in reader.columns:
        return None
    column = reader.columns.index("time")
    times = (row[column] for row in reader.rows(head[: 1 << 14].rpartition(b"\n")[0] + b"\n"))
    return zone_of(next(filter(None, times), b""))


class Task(NamedTuple):
    """A chunk to scan, and which of the formats it is in."""

    format_number: int
    chunk: sources.Chunk

    def __str__(self) -> str:
        chunk = self.chunk
        return f"{chunk.path}, bytes {chunk.offset:,} to {chunk.offset + chunk.length:,}"


class Piece(NamedTuple):
    """The tally of part of a log."""

    path: str
    batch: Batch


@dataclass
class Scan:
    """What a worker does: tally a chunk, in pieces of at most `lines` lines (0: in one). It pickles small."""

    formats: tuple[LogFormat, ...]
    router: Router
    window: Window | None = None
    bucket_s: int = 0
    lines: int = 0
    _scanners: dict[int, Scanner] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_scanners": {}}

    def __call__(self, task: Task) -> list[Piece]:
        scanner = self._scanners.get(task.format_number)
        if scanner is None:
            scanner = self._scanners[task.format_number] = Scanner(
                self.formats[task.format_number], self.router, window=self.window, bucket_s=self.bucket_s
            )
        data = task.chunk.read()
        parts = _parts(data, self.lines) if self.lines else [data]
        return [Piece(task.chunk.path, scanner.scan(part)) for part in parts]


def _parts(data: bytes, lines: int) -> Iterator[bytes]:
    """Cut whole lines into parts of at most so many lines."""
    start = 0
    while start < len(data):
        stop = start
        for _ in range(lines):
            stop = data.find(b"\n", stop) + 1
            if not stop:
                stop = len(data)
                break
            if stop == len(data):
                break
        yield data[start:stop]
        start = stop


@dataclass
class Run:
    """One pass over logs: tasks for the engine, and what of the logs they leave out."""

    logs: list[Log]
    router: Router
    window: Window | None = None
    bucket_s: int = 0
    lines: int = 0
    jobs: int = 0
    engine: str = engine.AUTO
    skipped_bytes: int = 0

    def pieces(self) -> Iterator[Piece]:
        """Tally all logs in order. Raises InputError, WorkerError."""
        for pieces in self.over(self.scan()):
            yield from pieces

    def scan(self) -> Scan:
        """What a worker is to do for the tally."""
        return Scan(self.formats, self.router, self.window, self.bucket_s, self.lines)

    @property
    def formats(self) -> tuple[LogFormat, ...]:
        """The different formats of the logs."""
        return tuple(dict.fromkeys(log.log_format for log in self.logs if log.detected))

    def over(self, work: Callable[[Task], Result]) -> Iterator[Result]:
        """Do some work on every chunk of all logs; results in order. Raises InputError, WorkerError."""
        logs = [log for log in self.logs if log.detected]
        formats = self.formats
        tasks = (Task(formats.index(log.log_format), chunk) for log in logs for chunk in self._chunks(log))
        jobs = self.jobs or (engine.cores() if self._is_long(logs) else 1)
        chosen = self.engine if self.engine != engine.AUTO else "serial" if jobs == 1 else "processes"
        return engine.run(chosen, work, tasks, jobs)

    def _is_long(self, logs: list[Log]) -> bool:
        sizes = [log.source.total_bytes() for log in logs]
        packed = [1 if log.source.kind == "plain" else PACKED for log in logs]
        return None in sizes or sum(map(mul, filter(None, sizes), packed)) >= SERIAL_BELOW

    def _chunks(self, log: Log) -> Iterable[sources.Chunk]:
        if not self.window:
            return sources.chunks(log.source)
        since_s, until_s = (None if abs(moment) == float("inf") else moment for moment in self.window)
        start, stop = sources.bisect(log.source, _line_time(log.log_format), since_s, until_s)
        total = log.source.total_bytes()
        if start or stop is not None:
            self.skipped_bytes += start + (
                max(0, total - stop) if total is not None and stop is not None else 0
            )
        return sources.chunks(log.source, start=start, stop=stop)


def _line_time(log_format: LogFormat) -> Callable[[bytes], float | None]:
    """A function that tells the time of one line, None where it has none."""
    reader = reader_of(log_format, ("time", "status"))
    if "time" not in reader.columns:
        return lambda _: None
    column = reader.columns.index("time")

    def line_time(line: bytes) -> float | None:
        row = next(iter(reader.rows(line.rstrip(b"\r\n") + b"\n")), None)
        return moment_s(row[column]) if row else None

    return line_time
