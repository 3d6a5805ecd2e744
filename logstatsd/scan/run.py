"""Scan whole logs: the pass over them that `report`, `replay` and the others share."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import mul
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from logstatsd import engine
from logstatsd.scan.logs import Log, line_time
from logstatsd.scan.stretches import FormatChanges, Stretches, StretchScanner
from logstatsd.sources import source as sources
from logstatsd.sources.compression import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from logstatsd.formats.known import FormatChoice
    from logstatsd.model.batch import Batch, Window
    from logstatsd.routing.router import Router

_Result = TypeVar("_Result")

SERIAL_BELOW = 12 << 20
"""Worker processes take longer to start than this many bytes take to scan."""
PACKED = 10
"""About how many times larger a log is than its compressed file."""
KEPT_SCANNERS = 16
"""Scanners, each with what it remembers, that a worker keeps of many logs."""


class Task(NamedTuple):
    """A chunk to scan, and which log it is of."""

    log_number: int
    chunk: sources.Chunk

    def __str__(self) -> str:
        chunk = self.chunk
        return f"{chunk.path}, bytes {chunk.offset:,} to {chunk.offset + chunk.length:,}"


class Piece(NamedTuple):
    """The tally of part of a log, and the formats of its lines."""

    path: str
    batch: Batch
    stretches: Stretches


@dataclass
class Scan:
    """The work on a chunk: tally it, in pieces of at most `lines` lines (0: in one). It pickles small.

    `choices` tells for each log where reading it begins.
    """

    choices: tuple[FormatChoice, ...]
    router: Router
    window: Window | None = None
    bucket_s: int = 0
    lines: int = 0
    _scanners: dict[int, StretchScanner] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_scanners": {}}

    def scanner(self, log_number: int) -> StretchScanner:
        """The scanner of a log; the latest few are kept."""
        scanner = self._scanners.get(log_number)
        if scanner is None:
            if len(self._scanners) >= KEPT_SCANNERS:
                del self._scanners[next(iter(self._scanners))]
            scanner = self._scanners[log_number] = StretchScanner(
                self.choices[log_number], self.router, window=self.window, bucket_s=self.bucket_s
            )
        return scanner

    def __call__(self, task: Task) -> list[Piece]:
        scanner, data = self.scanner(task.log_number), task.chunk.read()
        parts = _parts(data, self.lines) if self.lines else [data]
        return [Piece(task.chunk.path, *scanner.scan(part)) for part in parts]


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
    fast: bool = False
    """Whether to find the window by bisection, which trusts that lines are in order of time."""
    skipped_bytes: int = 0
    changes: FormatChanges = field(default_factory=FormatChanges)

    def pieces(self) -> Iterator[Piece]:
        """Tally all logs in order. Raises InputError, WorkerError."""
        for pieces in self.over(self.scan()):
            yield from pieces

    def scan(self) -> Scan:
        """Make the work for a tally."""
        return Scan(self.choices, self.router, self.window, self.bucket_s, self.lines)

    @property
    def choices(self) -> tuple[FormatChoice, ...]:
        """For each log, where reading it begins."""
        return tuple(log.choice for log in self.logs)

    def over(self, work: Callable[[Task], _Result]) -> Iterator[_Result]:
        """Do some work on every chunk of all logs; results in order. Raises InputError, WorkerError."""
        logs = [(number, log) for number, log in enumerate(self.logs) if not log.is_empty]
        tasks = (Task(number, chunk) for number, log in logs for chunk in self._chunks(log))
        jobs = self.jobs or (engine.cores() if self._is_long([log for _, log in logs]) else 1)
        chosen = self.engine if self.engine != engine.AUTO else "serial" if jobs == 1 else "processes"
        return engine.run(chosen, work, tasks, jobs)

    def _is_long(self, logs: list[Log]) -> bool:
        sizes = [log.source.total_bytes() for log in logs]
        packed = [1 if log.source.kind == PLAIN else PACKED for log in logs]
        return None in sizes or sum(map(mul, filter(None, sizes), packed)) >= SERIAL_BELOW

    def _chunks(self, log: Log) -> Iterable[sources.Chunk]:
        if not (self.window and self.fast and log.choice.first):
            return sources.chunks(log.source)
        since_s, until_s = (None if abs(moment) == float("inf") else moment for moment in self.window)
        start, stop = sources.bisect(log.source, line_time(log.choice.first), since_s, until_s)
        total = log.source.total_bytes()
        if start or stop is not None:
            self.skipped_bytes += start + (
                max(0, total - stop) if total is not None and stop is not None else 0
            )
        return sources.chunks(log.source, start=start, stop=stop)
