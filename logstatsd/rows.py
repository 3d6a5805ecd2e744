"""The lines of a log one by one, in order: for `normalize`, and for a look at single requests."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.clocks import duration_us, moment_s, zone_of
from logstatsd.labels import Route, Undecided
from logstatsd.readers import reader_of, why
from logstatsd.scan import LINE_LIMIT, SAMPLES, Labels, Window, slices
from logstatsd.summary import Excluded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logstatsd.formats import LogFormat, Row
    from logstatsd.pipeline import Piece, Scan, Task
    from logstatsd.routes import Router


class Entry(NamedTuple):
    """One line: where it begins in the log, in bytes, and what it says; or why it was rejected."""

    offset: int
    line: bytes
    rejected: str = ""
    time: bytes = b""
    route: Route | Undecided | None = None
    method: str = ""
    status: int = 0
    duration_us: int | None = None
    target: bytes = b""


class LineReader:
    """Reads the entries of one log format; lines outside the window are left out."""

    def __init__(self, log_format: LogFormat, router: Router, window: Window | None = None) -> None:
        self._format, self._window = log_format, window
        self._labels = Labels(log_format, router)
        self._reader = reader_of(log_format, {*self._labels.roles, "status", "duration", "time", "query"})
        self._column = {name: n for n, name in enumerate(self._reader.columns)}
        self._labels.roles = tuple(role for role in self._labels.roles if role in self._column)
        self._upgrades = router.uses_websocket
        self._label = lru_cache(maxsize=65_536)(self._labels.label)

    def entries(self, data: bytes, offset: int = 0) -> Iterator[Entry]:
        """Every line of a chunk that begins at byte `offset` of its log."""
        for block in slices(data):
            lines = block.split(b"\n")[:-1]
            rows = self._reader.rows(block)
            for line, row in zip(lines, rows, strict=True):
                entry = self._entry(offset, line, row)
                offset += len(line) + 1
                if entry:
                    yield entry

    def _entry(self, offset: int, line: bytes, row: Row) -> Entry | None:
        column = self._column
        if len(line) > LINE_LIMIT:
            return Entry(offset, line, "too long")
        if not row[column["status"]]:
            again = self._reader.again(line)
            if again is None:
                return Entry(offset, line, why(self._format, line))
            row = again
        time = row[column["time"]] if "time" in column else b""
        if self._window and not self._inside(time):
            return None
        try:
            text = row[column["duration"]] if "duration" in column else b""
            duration = duration_us(text, self._format.duration_unit)
        except ValueError:
            return Entry(offset, line, "bad duration")
        status = row[column["status"]]
        head = tuple(row[column[role]] for role in self._labels.roles)
        if self._upgrades:
            head += (b"1" if status == b"101" else b"",)
        route, method = self._label(head)
        return Entry(offset, line, "", time, route, method, int(status), duration, self._target(row))

    def _inside(self, time: bytes) -> bool:
        moment = moment_s(time)
        return self._window is None or moment is None or self._window.since_s <= moment < self._window.until_s

    def _target(self, row: Row) -> bytes:
        for role in ("request", "target", "path"):
            if role in self._column:
                value = row[self._column[role]]
                return self._format.unescape(value.partition(b" ")[2] if role == "request" else value)
        return b""


@lru_cache(maxsize=4_096)
def iso(time: bytes) -> str | None:
    """A logged moment as ISO 8601, with the log's own offset from UTC."""
    moment = moment_s(time)
    return None if moment is None else datetime.fromtimestamp(moment, zone_of(time) or UTC).isoformat()


class Normalized(NamedTuple):
    """A chunk as JSON Lines, between them the entries that are Undecided; and what became of its lines."""

    path: str
    parts: list[str | Entry]
    lines: int
    rejected: Counter[str]
    samples: list[tuple[str, bytes]]
    excluded: int


@dataclass
class Normalize:
    """What a worker does for `normalize`: a chunk as JSON Lines. What only the app can tell is left to do."""

    formats: tuple[LogFormat, ...]
    router: Router
    window: Window | None = None
    target: bool = False
    excluded: Excluded = field(default_factory=Excluded)
    _readers: dict[int, LineReader] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_readers": {}}

    def __call__(self, task: Task) -> Normalized:
        reader = self._readers.get(task.format_number)
        if reader is None:
            reader = LineReader(self.formats[task.format_number], self.router, self.window)
            self._readers[task.format_number] = reader
        parts: list[str | Entry] = []
        text: list[str] = []
        rejected: Counter[str] = Counter()
        samples: list[tuple[str, bytes]] = []
        lines = excluded = 0
        for entry in reader.entries(task.chunk.read(), task.chunk.offset):
            lines += 1
            route = entry.route
            if isinstance(route, Undecided):
                parts += ["".join(text), entry]
                text.clear()
                continue
            if route is None:
                rejected[entry.rejected] += 1
                if len(samples) < SAMPLES:
                    samples.append((entry.rejected, entry.line[:1_000]))
            elif route in self.excluded:
                excluded += 1
                continue
            text.append(as_line(task.chunk.path, entry, route, target=self.target))
        return Normalized(task.chunk.path, [*parts, "".join(text)], lines, rejected, samples, excluded)


def as_line(path: str, entry: Entry, route: Route | None, *, target: bool) -> str:
    """One line of JSON for an entry."""
    start = f'{{"file": {_quoted(path)}, "offset": {entry.offset}, '
    if entry.rejected or route is None:
        return f'{start}"rejected": {_quoted(entry.rejected)}}}\n'
    duration = "null" if entry.duration_us is None else entry.duration_us
    shown = f', "target": {json.dumps(entry.target.decode("utf-8", "replace"))}' if target else ""
    return (
        f'{start}"time": {_quoted(iso(entry.time))}, {_label(entry.method, route)}, '
        f'"status": {entry.status}, "duration_us": {duration}{shown}}}\n'
    )


@lru_cache(maxsize=4_096)
def _label(method: str, route: Route) -> str:
    return (
        f'"method": {_quoted(method)}, "rule": {_quoted(route.rule)}, '
        f'"endpoint": {_quoted(route.endpoint)}, "outcome": {_quoted(route.outcome)}'
    )


@lru_cache(maxsize=4_096)
def _quoted(text: str | None) -> str:
    return json.dumps(text)


@dataclass
class Usage:
    """What a worker does for `routes`: tallies a chunk, and counts the targets that no rule matched."""

    scan: Scan
    kept: int = 1_000

    def __call__(self, task: Task) -> tuple[list[Piece], Counter[bytes]]:
        """The tally, and the most frequent unmatched targets without their queries."""
        scan = self.scan
        reader = LineReader(scan.formats[task.format_number], scan.router, scan.window)
        counts: Counter[bytes] = Counter()
        for entry in reader.entries(task.chunk.read(), task.chunk.offset):
            if isinstance(entry.route, Route) and entry.route.outcome == "unmatched":
                counts[entry.target.partition(b"?")[0][:200]] += 1
        return scan(task), Counter(dict(counts.most_common(self.kept)))
