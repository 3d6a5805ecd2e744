"""The lines of a log one by one, in order: for `jsonlines`, and for a look at single requests."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.formats.reader import reader_of, why
from logstatsd.formats.times import duration_us, moment_s
from logstatsd.model.route import Undecided
from logstatsd.scan.labels import Labels
from logstatsd.scan.scanner import slices
from logstatsd.sources.lines import LINE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logstatsd.formats.logformat import LogFormat, Row
    from logstatsd.model.batch import Window
    from logstatsd.model.route import Route
    from logstatsd.routing.router import Router
    from logstatsd.scan.run import Piece, Scan, Task


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
    """Reads the entries of one log format; lines outside the window are left out.

    With `query` off, targets come without their queries, so that fewer differ.
    """

    def __init__(
        self, log_format: LogFormat, router: Router, window: Window | None = None, *, query: bool = True
    ) -> None:
        self._format, self._window = log_format, window
        self._labels = Labels(log_format, router)
        wanted = {*self._labels.roles, "status", "duration", "time"}
        self._reader = reader_of(log_format, wanted | ({"query"} if query else set()))
        self._column = {name: n for n, name in enumerate(self._reader.columns)}
        self._labels.roles = tuple(role for role in self._labels.roles if role in self._column)
        self.target_role = next(role for role in ("request", "target", "path") if role in self._column)
        self._upgrades = router.uses_websocket
        self._label = lru_cache(maxsize=65_536)(self.label)

    def entries(self, data: bytes, offset: int = 0) -> Iterator[Entry]:
        """Every line of a chunk that begins at byte `offset` of its log."""
        for block in slices(data):
            for line, row in self.rows(block):
                entry = self.entry(offset, line, row)
                offset += len(line) + 1
                if entry:
                    yield entry

    def rows(self, block: bytes) -> Iterator[tuple[bytes, Row]]:
        """The lines of a block, each with what `columns` say of it."""
        return zip(block.split(b"\n")[:-1], self._reader.rows(block), strict=True)

    @property
    def roles(self) -> tuple[str, ...]:
        """The columns that a label depends on, with the status."""
        return self._labels.roles

    def position(self, role: str) -> int:
        """Where a row has a role; where the log has none of it, an empty value of a row that fits."""
        return self._column.get(role, -1)

    def entry(self, offset: int, line: bytes, row: Row) -> Entry | None:
        """What one line says; None where it is outside the window."""
        if len(line) > LINE_LIMIT:
            return Entry(offset, line, "too long")
        if not row[self.position("status")]:
            again = self._reader.again(line)
            if again is None:
                return Entry(offset, line, why(self._format, line))
            row = again
        time, status = row[self.position("time")], row[self.position("status")]
        if not self.inside(time):
            return None
        try:
            duration = self.duration_us(row[self.position("duration")])
        except ValueError:
            return Entry(offset, line, "bad duration")
        route, method = self._label(tuple(row[self._column[role]] for role in self.roles), status)
        return Entry(offset, line, "", time, route, method, int(status), duration, self.target(row))

    def label(self, head: Row, status: bytes) -> tuple[Route | Undecided, str]:
        """The route and the method of a row, by the columns of `roles` and the status."""
        if self._upgrades:
            head += (b"1" if status == b"101" else b"",)
        return self._labels.label(head)

    def duration_us(self, text: bytes) -> int | None:
        """The duration in microseconds. Raises ValueError for what is none."""
        return duration_us(text, self._format.duration_unit)

    def inside(self, time: bytes) -> bool:
        """Whether a logged moment is inside the window."""
        if not self._window:
            return True
        moment = moment_s(time)
        return moment is None or self._window.since_s <= moment < self._window.until_s

    def target(self, row: Row) -> bytes:
        """The target as it was asked for."""
        return self.unescaped(row[self._column[self.target_role]])

    def unescaped(self, value: bytes) -> bytes:
        """The target in a column of `target_role`."""
        value = value.partition(b" ")[2] if self.target_role == "request" else value
        return self._format.unescape(value) if b"\\" in value or not value.isascii() else value

    def heads(self, data: bytes) -> Counter[Row]:
        """How many lines of a chunk have the same columns of `roles` and status."""
        counts: Counter[Row] = Counter()
        status, time = self.position("status"), self.position("time")
        key = itemgetter(*map(self.position, self.roles), status)
        for block in slices(data):
            rows = self._reader.rows(block)
            rows = [row if row[status] else self._reader.again(row[-1]) or row for row in rows]
            if self._window:
                rows = [row for row in rows if self.inside(row[time])]
            counts.update(map(key, rows))
        return counts


class Unmatched(NamedTuple):
    """Targets without their queries: which no rule matched, and about which only the app can tell."""

    decided: Counter[bytes]
    undecided: Counter[tuple[bytes, Undecided]]


@dataclass
class TargetCount:
    """What a worker does for `routes`: tallies a chunk, and counts the targets that no rule matched."""

    scan: Scan
    kept: int = 1_000

    def __call__(self, task: Task) -> tuple[list[Piece], Unmatched]:
        """The tally, and the most frequent unmatched targets."""
        scan = self.scan
        reader = LineReader(scan.formats[task.format_number], scan.router, scan.window, query=False)
        column = reader.roles.index(reader.target_role)
        decided: Counter[bytes] = Counter()
        undecided: Counter[tuple[bytes, Undecided]] = Counter()
        for (*head, status), count in reader.heads(task.chunk.read()).items():
            route, _ = reader.label(tuple(head), status)
            if isinstance(route, Undecided):
                undecided[_without_query(reader.unescaped(head[column])), route] += count
            elif route.outcome == "unmatched":
                decided[_without_query(reader.unescaped(head[column]))] += count
        return scan(task), Unmatched(
            Counter(dict(decided.most_common(self.kept))), Counter(dict(undecided.most_common(self.kept)))
        )


def _without_query(target: bytes) -> bytes:
    return target.partition(b"?")[0][:200]
