"""Scan whole logs: the pass over them that `report`, `replay` and the others share."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from operator import mul
from threading import get_ident
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from logstatsd import engine
from logstatsd.errors import InputError
from logstatsd.model.batch import Batch
from logstatsd.model.line_counts import LineCounts
from logstatsd.scan.logs import Log, line_time
from logstatsd.scan.scanners import choose_scanner
from logstatsd.scan.stretches import FormatChanges, Stretches, StretchScanner
from logstatsd.sources import source as sources
from logstatsd.sources.compression import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from logstatsd.formats.known import FormatChoice
    from logstatsd.model.batch import Window
    from logstatsd.routing.router import Router

_Result = TypeVar("_Result")

SERIAL_BELOW = 12 << 20
"""Worker processes take longer to start than this many bytes take to scan."""
PACKED = 10
"""About how many times larger a log is than its compressed file."""
RESIDUE = 0.5
"""Where more than this share of lines is left to Python, worker processes get more done than threads."""
DECODED = 4 << 20
"""How much of a compressed log a chunk for a thread has: several are in memory at once."""
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
    """The work on a chunk: tally it, in pieces of at most `lines` lines (0: in one).

    It pickles small. Threads may share it.

    `choices` tells for each log where reading it begins.
    """

    choices: tuple[FormatChoice, ...]
    router: Router
    window: Window | None = None
    bucket_s: int = 0
    lines: int = 0
    scanner: str = "python"
    holds: bool = False
    """Whether what is measured is held, if it can be, until `rest` gives it."""
    _scanners: dict[tuple[int, int], StretchScanner] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_scanners": {}}

    def made(self, log_number: int) -> StretchScanner:
        """Make a scanner of a log."""
        return StretchScanner(
            self.choices[log_number],
            self.router,
            window=self.window,
            bucket_s=self.bucket_s,
            scanner=self.scanner,
            holds=self.holds,
        )

    def __call__(self, task: Task) -> list[Piece]:
        chunk, before = task.chunk, self._make_room(task)
        scanner = self.scanner_of(task.log_number)
        if self.holds:
            with contextlib.suppress(InputError):  # it has gone, as `lost` tells
                before.append(Piece(chunk.path, *scanner.count(chunk)))
            return [*before, *_lost(chunk, chunk.lost())]
        data = chunk.read()
        parts = _parts(data, self.lines) if self.lines else [data]
        pieces = [Piece(chunk.path, *scanner.scan(part)) for part in parts]
        return [*pieces, *_lost(chunk, chunk.lost(data))]

    def scanner_of(self, log_number: int) -> StretchScanner:
        """The scanner of a log, one a thread."""
        key = (get_ident(), log_number)
        scanner = self._scanners.get(key)
        if scanner is None:
            scanner = self._scanners[key] = self.made(log_number)
        return scanner

    def _make_room(self, task: Task) -> list[Piece]:
        """Keep the latest few scanners of this thread; give what the oldest holds."""
        mine = [key for key in list(self._scanners) if key[0] == get_ident()]
        if len(mine) < KEPT_SCANNERS or (get_ident(), task.log_number) in mine:
            return []
        oldest = self._scanners.pop(mine[0])
        return [
            Piece(task.chunk.path, batch, Stretches()) for each in oldest.compiled() for batch in each.held()
        ]

    def rest(self) -> Iterator[Batch]:
        """What was measured and is held."""
        scanners = [compiled for each in self._scanners.values() for compiled in each.compiled()]
        for other in scanners[1:]:
            scanners[0].absorb(other)
        for scanner in scanners:
            yield from scanner.held()


def _lost(chunk: sources.Chunk, texts: list[str]) -> list[Piece]:
    """The piece that tells what of a chunk was lost, if anything was."""
    return [Piece(chunk.path, Batch(LineCounts(lost=texts)), Stretches())] if texts else []


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
    block_bytes: int = sources.BLOCK
    """About how much of a log makes a task."""
    fast: bool = False
    """Whether to find the window by bisection, which trusts that lines are in order of time."""
    skipped_bytes: int = 0
    changes: FormatChanges = field(default_factory=FormatChanges)
    scanner: str = ""
    ordered: bool = False
    """Whether each piece must have all that was measured in its lines."""

    def pieces(self) -> Iterator[Piece]:
        """Tally all logs in order. Raises InputError, WorkerError, OptionError."""
        work = self.scan()
        work.holds = not self.ordered and not self.lines and self._engine(work) in engine.SHARING
        for pieces in self.over(work):
            yield from pieces
        for batch in work.rest():
            yield Piece(self.logs[-1].source.name, batch, Stretches())

    def scan(self) -> Scan:
        """Make the work for a tally, with the scanner that suits the logs. Raises OptionError."""
        work = Scan(
            self.choices,
            self.router,
            self.window,
            self.bucket_s,
            self.lines,
            choose_scanner(self.scanner).name,
        )
        if work.scanner == "native" and not self.scanner and self._left_to_python(work) > RESIDUE:
            work.scanner = "python"
        return work

    def _left_to_python(self, work: Scan) -> float:
        """The share of the logs that the compiled scanner would leave to Python, told by their beginnings."""
        left = total = 0.0
        for number, log in self._read():
            if log.choice.first and log.beginning:
                size = log.source.total_bytes() or 1
                left += size * work.made(number).share(log.choice.first, log.beginning)
                total += size
        return left / total if total else 0.0

    def _read(self) -> list[tuple[int, Log]]:
        """The logs that have lines, by number."""
        return [(number, log) for number, log in enumerate(self.logs) if not log.is_empty]

    @property
    def choices(self) -> tuple[FormatChoice, ...]:
        """For each log, where reading it begins."""
        return tuple(log.choice for log in self.logs)

    def over(self, work: Callable[[Task], _Result]) -> Iterator[_Result]:
        """Do some work on every chunk of all logs; results in order. Raises InputError, WorkerError."""
        chosen = self._engine(work)
        tasks = (Task(number, chunk) for number, log in self._read() for chunk in self._chunks(log, chosen))
        return engine.run(chosen, work, tasks, self._jobs())

    def _jobs(self) -> int:
        return self.jobs or (engine.cores() if self._is_long([log for _, log in self._read()]) else 1)

    def _engine(self, work: object) -> str:
        """The engine asked for, or the one that suits the work and the size of the logs."""
        if self.engine != engine.AUTO:
            return self.engine
        if self._jobs() == 1:
            return "serial"
        return "threads" if isinstance(work, Scan) and work.scanner == "native" else "processes"

    def _is_long(self, logs: list[Log]) -> bool:
        sizes = [log.source.total_bytes() for log in logs]
        packed = [1 if log.source.kind == PLAIN else PACKED for log in logs]
        return None in sizes or sum(map(mul, filter(None, sizes), packed)) >= SERIAL_BELOW

    def _chunks(self, log: Log, chosen: str) -> Iterable[sources.Chunk]:
        if chosen == "threads" and log.source.kind != PLAIN:
            return sources.chunks(log.source, size=DECODED)
        if not (self.window and self.fast and log.choice.first):
            return sources.chunks(log.source, size=self.block_bytes)
        since_s, until_s = (None if abs(moment) == float("inf") else moment for moment in self.window)
        start, stop = sources.bisect(log.source, line_time(log.choice.first), since_s, until_s)
        total = log.source.total_bytes()
        if start or stop is not None:
            self.skipped_bytes += start + (
                max(0, total - stop) if total is not None and stop is not None else 0
            )
        return sources.chunks(log.source, size=self.block_bytes, start=start, stop=stop)
