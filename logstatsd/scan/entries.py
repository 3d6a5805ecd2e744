"""The lines of a log one by one, in order: for `jsonlines`, and for a look at single requests."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.formats.known import FormatChoice, KnownFormats
from logstatsd.formats.reader import reader_of, why
from logstatsd.formats.times import duration_us, is_duration, moment_s
from logstatsd.model.route import Undecided
from logstatsd.scan.labels import MAX_LABELS, Labels, is_short
from logstatsd.scan.remembered import Remembered
from logstatsd.scan.run import Piece
from logstatsd.scan.scanner import TOO_LONG, slices
from logstatsd.sources.lines import LINE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logstatsd.formats.logformat import LogFormat, Row
    from logstatsd.model.batch import Window
    from logstatsd.model.route import Route
    from logstatsd.routing.router import Router
    from logstatsd.scan.run import Scan, Task


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


REMEMBERED_DURATIONS = 65_536


class LineReader:
    """A reader of the entries of one log format; lines outside the window are left out.

    With `query` off, targets come without their queries, so that fewer differ.
    """

    def __init__(
        self, log_format: LogFormat, router: Router, window: Window | None = None, *, query: bool = True
    ) -> None:
        self.log_format, self._window = log_format, window
        self._labels = Labels(log_format, router)
        wanted = {*self._labels.roles, "status", "duration", "time"}
        self._reader = reader_of(log_format, wanted | ({"query"} if query else set()))
        self._column = {name: n for n, name in enumerate(self._reader.columns)}
        self._labels.roles = tuple(role for role in self._labels.roles if role in self._column)
        self.target_role = next(role for role in ("request", "target", "path") if role in self._column)
        self._upgrades = router.uses_websocket
        self._are_durations: dict[bytes, bool] = {}
        self._known: Remembered[Row, tuple[Route | Undecided, str]]
        self._known = Remembered(lambda key: self.label(key[:-1], key[-1]), MAX_LABELS, is_short)

    def rows(self, block: bytes) -> Iterator[tuple[bytes, Row]]:
        """The lines of a block, each with what `columns` say of it."""
        return zip(block.split(b"\n")[:-1], self._reader.rows(block), strict=True)

    def fitting(self, block: bytes) -> Iterator[tuple[bytes, Row, bool]]:
        """The lines of a block, each with what `columns` say of it, and whether it fits the format."""
        status, duration = self.position("status"), self.position("duration")
        for line, row in self.rows(block):
            found = row if row[status] else self._reader.again(line) or row
            yield line, found, bool(found[status]) and self.is_duration(found[duration])

    def is_duration(self, text: bytes) -> bool:
        """Whether a text is a duration, or none was logged."""
        known = self._are_durations.get(text)
        if known is None:
            if len(self._are_durations) >= REMEMBERED_DURATIONS:
                self._are_durations.clear()
            known = self._are_durations[text] = is_duration(text, self.log_format.duration_unit)
        return known

    @property
    def roles(self) -> tuple[str, ...]:
        """The columns that a label depends on, with the status."""
        return self._labels.roles

    def position(self, role: str) -> int:
        """Find where a row has a role; where the log has none of it, an empty value of a row that fits."""
        return self._column.get(role, -1)

    def entry(self, offset: int, line: bytes, row: Row) -> Entry | None:
        """Make the entry of one line; None where it is outside the window."""
        if len(line) > LINE_LIMIT:
            return Entry(offset, line, TOO_LONG)
        if not row[self.position("status")]:
            again = self._reader.again(line)
            if again is None:
                return Entry(offset, line, why(self.log_format, line))
            row = again
        time, status = row[self.position("time")], row[self.position("status")]
        if not self.inside(time):
            return None
        try:
            duration = self.duration_us(row[self.position("duration")])
        except ValueError:
            return Entry(offset, line, "bad duration")
        route, method = self._known[*(row[self._column[role]] for role in self.roles), status]
        return Entry(offset, line, "", time, route, method, int(status), duration, self.target(row))

    def label(self, head: Row, status: bytes) -> tuple[Route | Undecided, str]:
        """The route and the method of a row, by the columns of `roles` and the status."""
        if self._upgrades:
            head += (b"1" if status == b"101" else b"",)
        return self._labels.label(head)

    def duration_us(self, text: bytes) -> int | None:
        """The duration in microseconds. Raises ValueError for what is none."""
        return duration_us(text, self.log_format.duration_unit)

    def inside(self, time: bytes) -> bool:
        """Whether a logged moment is inside the window."""
        return not self._window or self._window.includes(moment_s(time))

    def target(self, row: Row) -> bytes:
        """The target as it was asked for."""
        return self.unescaped(row[self._column[self.target_role]])

    def unescaped(self, value: bytes) -> bytes:
        """The target in a column of `target_role`."""
        value = value.partition(b" ")[2] if self.target_role == "request" else value
        return self.log_format.unescape(value) if b"\\" in value or not value.isascii() else value

    def heads(self, data: bytes) -> Counter[Row]:
        """Count the lines of a chunk that have the same columns of `roles` and status."""
        counts: Counter[Row] = Counter()
        time = self.position("time")
        key = itemgetter(*map(self.position, self.roles), self.position("status"))
        for block in slices(data):
            fitting = (row for _, row, fits in self.fitting(block) if fits and self.inside(row[time]))
            counts.update(map(key, fitting))
        return counts


class StretchReader:
    """A reader of the lines of one log one by one, whichever formats they are in."""

    def __init__(self, choice: FormatChoice, router: Router, window: Window | None = None) -> None:
        self._known = KnownFormats(choice)
        self._router, self._window = router, window
        self._readers: dict[LogFormat, LineReader] = {}

    def lines(self, block: bytes) -> Iterator[tuple[LineReader | None, bytes, Row]]:
        """Each line of a block, with a reader whose format it fits, and what that reads in it.

        A line that fits no format comes with the reader of the format in which the block begins; with none
        where no format is known yet.
        """
        main = self._reader(self._known.likeliest(block))
        if main is None:
            found: list[tuple[LineReader | None, bytes, Row]]
            found = [(None, line, ()) for line in block.split(b"\n")[:-1]]
            misfits = list(range(len(found)))
        else:
            judged = list(main.fitting(block))
            found = [(main, line, row) for line, row, _ in judged]
            misfits = [n for n, (*_, fits) in enumerate(judged) if not fits]
        tried = {main.log_format if main else None}
        while misfits and (reader := self._next(tried, [found[n][1] for n in misfits])):
            tried.add(reader.log_format)
            joined = b"\n".join(found[n][1] for n in misfits) + b"\n"
            again = list(zip(misfits, reader.fitting(joined), strict=True))
            for n, (line, row, fits) in again:
                if fits:
                    found[n] = (reader, line, row)
            misfits = [n for n, (*_, fits) in again if not fits]
        return iter(found)

    def entries(self, data: bytes, offset: int = 0) -> Iterator[tuple[Entry, LogFormat | None]]:
        """Every line of a chunk that begins at byte `offset` of its log, with the format it was read in."""
        for block in slices(data):
            for reader, line, row in self.lines(block):
                if entry := entry_of(reader, offset, line, row):
                    yield entry, reader.log_format if reader and not entry.rejected else None
                offset += len(line) + 1

    def _next(self, tried: set[LogFormat | None], lines: list[bytes]) -> LineReader | None:
        """The reader of the next format to try on lines that fit none so far."""
        known = next((each for each in self._known.formats if each not in tried), None)
        return self._reader(known or self._known.find(lines))

    def _reader(self, log_format: LogFormat | None) -> LineReader | None:
        if log_format is None:
            return None
        reader = self._readers.get(log_format)
        if reader is None:
            reader = self._readers[log_format] = LineReader(log_format, self._router, self._window)
        return reader


def entry_of(reader: LineReader | None, offset: int, line: bytes, row: Row) -> Entry | None:
    """Make the entry of one line; None where it is outside the window."""
    if reader is None:
        reason = TOO_LONG if len(line) > LINE_LIMIT else "no match" if line.strip() else "empty"
        return Entry(offset, line, reason)
    return reader.entry(offset, line, row)


class Unmatched(NamedTuple):
    """Targets without their queries: which no rule matched, and about which only the app can tell."""

    decided: Counter[bytes]
    undecided: Counter[tuple[bytes, Undecided]]


@dataclass
class TargetCount:
    """The work for `routes`: tally a chunk, and count the targets that no rule matched."""

    scan: Scan
    kept: int = 1_000

    def __call__(self, task: Task) -> tuple[list[Piece], Unmatched]:
        """The tally, and the most frequent unmatched targets."""
        scan, read = self.scan, task.chunk.read()
        batch, stretches, parts = scan.scanner_of(task.log_number).scan_parts(read)
        batch.counts.lost += task.chunk.lost(read)
        found = Unmatched(Counter(), Counter())
        for log_format, data in parts:
            _count_targets(LineReader(log_format, scan.router, scan.window, query=False), data, found)
        return [Piece(task.chunk.path, batch, stretches)], Unmatched(
            Counter(dict(found.decided.most_common(self.kept))),
            Counter(dict(found.undecided.most_common(self.kept))),
        )


def _count_targets(reader: LineReader, data: bytes, found: Unmatched) -> None:
    """Count the targets of a chunk that no rule matched, and those about which only the app can tell."""
    column = reader.roles.index(reader.target_role)
    for (*head, status), count in reader.heads(data).items():
        route, _ = reader.label(tuple(head), status)
        if isinstance(route, Undecided):
            found.undecided[_without_query(reader.unescaped(head[column])), route] += count
        elif route.outcome == "unmatched":
            found.decided[_without_query(reader.unescaped(head[column]))] += count


def _without_query(target: bytes) -> bytes:
    return target.partition(b"?")[0][:200]
