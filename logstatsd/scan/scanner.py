"""Chunk of bytes to Batch: the hot loop."""

from __future__ import annotations

from collections import Counter
from itertools import compress, repeat
from operator import add, not_
from typing import TYPE_CHECKING, Any, NamedTuple

from logstatsd.formats.reader import reader_of, why
from logstatsd.formats.times import duration_us, durations_us, is_duration, moment_s
from logstatsd.model.batch import Batch, Durations, Window
from logstatsd.scan.labels import Columns, Label, Labels
from logstatsd.sources.lines import LINE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from logstatsd.formats.logformat import LogFormat
    from logstatsd.routing.router import Router

SLICE = 1 << 17
"""How much is matched at once, in bytes: what fits the processor's cache is matched faster."""
MEASURES = ("duration", "cpu")
"""The roles that are measured, in microseconds."""


TOO_LONG = "too long"
MOST_BLANK = 1_000
"""Blank lines of a chunk after so many misfits are only counted: there may be millions."""


class Misfit(NamedTuple):
    """A line that does not fit its format: its number in the chunk, from 0, itself, and the reason."""

    number: int
    line: bytes
    reason: str


class Scanner:
    """Tallies chunks of one log format. It remembers labels from chunk to chunk, in bounded memory.

    `bucket_s` splits every series by time into buckets of so many seconds.
    """

    def __init__(
        self, log_format: LogFormat, router: Router, *, window: Window | None = None, bucket_s: int = 0
    ) -> None:
        self._window = window
        self._format = log_format
        self.labels = Labels(log_format, router)
        self.roles = frozenset({*self.labels.roles, "status", "duration", "time", "cpu"})
        self._reader = reader_of(log_format, self.roles)
        self._column = {name: n for n, name in enumerate(self._reader.columns)}
        self.labels.roles = tuple(role for role in self.labels.roles if role in self._column)
        measured = {role: log_format.chosen[role].field.unit for role in MEASURES if role in self._column}
        self.bucket_s = bucket_s if "time" in self._column else 0
        self.units = {"duration": "", **measured}

    def scan(self, data: bytes, misfits: list[Misfit] | None = None) -> Batch:
        """Tally whole lines; the last one may lack its newline.

        Lines that do not fit the format are rejected in the batch; with a list of `misfits`, they are added
        to that, in order, and count nowhere.
        """
        batch = Batch()
        refused: list[Misfit] = []
        for block in slices(data):
            self._count(without_long_lines(block, batch.counts.lines, refused), batch, refused)
        odd: set[bytes] = set()
        for label in self.labels.known:
            for role, measured in label.measured.items():
                for key, texts in measured.items():
                    if key:  # what has no status was rejected
                        odd |= self._fold(label, key, role, texts, batch)
                measured.clear()
        self.labels.make_room()
        if odd:
            refused += self._lines_with(odd, data)
        batch.counts.lines += sum(each.reason == TOO_LONG for each in refused)
        refused = _numbered(refused)
        if misfits is None:
            for each in refused:
                batch.counts.reject(each.reason, each.line)
        else:
            batch.counts.lines -= len(refused)
            misfits += refused
        return batch

    def _count(self, block: bytes, batch: Batch, refused: list[Misfit]) -> None:
        if len(refused) >= MOST_BLANK and not block.strip():
            lines = block.count(b"\n")
            batch.counts.lines += lines
            batch.counts.rejected["empty"] += lines
            return
        rows = self._reader.rows(block)
        first = batch.counts.lines
        batch.counts.lines += len(rows)
        columns = list(zip(*rows, strict=True))
        statuses = columns[self._column["status"]] if rows else ()
        if b"" in statuses:  # such rows run along, and are passed over in the end
            rescued = []
            for number in compress(range(len(rows)), map(not_, statuses)):
                line = columns[-1][number]
                if not line.strip() and len(refused) >= MOST_BLANK:
                    batch.counts.rejected["empty"] += 1
                elif row := self._reader.again(line):
                    rescued.append(row)
                else:
                    refused.append(Misfit(first + number, line, why(self._format, line)))
            if rescued:
                self._tally(list(zip(*rescued, strict=True)), batch)
        if rows:
            self._tally(columns, batch)

    def _tally(self, columns: Columns, batch: Batch) -> None:
        """Note under each row's label and status what was measured, as it is written."""
        if "time" in self._column:
            columns = self._timed(columns, batch)
        statuses: Sequence[bytes] = columns[self._column["status"]]
        labels = self.labels.of([columns[self._column[role]] for role in self.labels.roles], statuses)
        if self.bucket_s:
            statuses = list(map(add, self._buckets(columns[self._column["time"]]), statuses))
        for role in self.units:
            texts = columns[self._column[role]] if role in self._column else repeat(b"", len(labels))
            if role == "duration":
                for label, status, text in zip(labels, statuses, texts, strict=True):
                    label[status].append(text)
            else:
                for label, status, text in zip(labels, statuses, texts, strict=True):
                    label.measured[role][status].append(text)

    def _timed(self, columns: Columns, batch: Batch) -> Columns:
        """The columns inside the window; notes in the batch the time they cover and how many are outside."""
        texts = columns[self._column["time"]]
        moments = {text: moment_s(text) for text in set(texts)}
        if self._window:
            since_s, until_s = self._window
            inside = {text: moment is None or since_s <= moment < until_s for text, moment in moments.items()}
            kept = list(map(inside.__getitem__, texts))
            columns = [tuple(compress(column, kept)) for column in columns]
            batch.counts.outside += len(kept) - sum(kept)
            moments = {text: moment for text, moment in moments.items() if inside[text]}
        batch.period.extend(moment for moment in moments.values() if moment is not None)
        return columns

    def _buckets(self, texts: Sequence[bytes]) -> Iterator[bytes]:
        """For each time the start of its bucket; nothing for what is no time, as in a rejected line."""
        starts = {b"": b""}
        for text in set(texts) - {b""}:
            moment = moment_s(text)
            starts[text] = b"" if moment is None else b"%d " % (moment // self.bucket_s * self.bucket_s)
        return map(starts.__getitem__, texts)

    def _fold(self, label: Label, key: bytes, role: str, texts: list[bytes], batch: Batch) -> set[bytes]:
        """Turn what was noted under a label and `[bucket ]status` into a series of durations.

        Returns the texts that are no durations.
        """
        counted, odd = Counter(texts), set()
        try:
            values: Sequence[int | None] = durations_us(counted, self.units[role])
        except ValueError:
            odd = {text for text in counted if not is_duration(text, self.units[role])}
            counted = Counter({text: count for text, count in counted.items() if text not in odd})
            values = [duration_us(text, self.units[role]) for text in counted]
        durations: Durations = {}
        for value, count in zip(values, counted.values(), strict=True):
            if value is not None or role == "duration":
                durations[value] = durations.get(value, 0) + count
        if durations:
            bucket, _, status = key.rpartition(b" ")
            at_s = int(bucket) if bucket else None
            batch.put(label.route, label.method, int(status), at_s, role=role, durations=durations)
        return odd if role == "duration" else set()

    def _lines_with(self, odd: set[bytes], data: bytes) -> Iterator[Misfit]:
        """The lines whose durations are among `odd`: a second pass, for chunks that need it."""
        status, duration = self._column["status"], self._column["duration"]
        time, window, number = self._column.get("time"), self._window or Window(), 0
        for block in slices(data):
            block = without_long_lines(block, number, [])  # noqa: PLW2901
            for line, row in zip(block.split(b"\n"), self._reader.rows(block), strict=False):
                found = row if row[status] else self._reader.again(line) or row
                if found[duration] in odd and (time is None or window.includes(moment_s(found[time]))):
                    yield Misfit(number, line, "bad duration")
                number += 1


WHY_NOT = ""
"""Why this scanner cannot run here; it always can."""


def make(log_format: LogFormat, router: Router, *, bounded: bool = False, **options: Any) -> Scanner:
    """Make the scanner, as SCANNERS asks for it; what is measured is bounded later, by a Summary."""
    del bounded
    return Scanner(log_format, router, **options)


def slices(data: bytes) -> Iterator[bytes]:
    """Cut whole lines into pieces of about SLICE bytes, each ending in a newline."""
    start, size = 0, len(data)
    while start < size:
        stop = size if size - start <= SLICE else data.rfind(b"\n", start, start + SLICE) + 1
        stop = stop or data.find(b"\n", start) + 1 or size
        yield data[start:stop] if data.endswith(b"\n", start, stop) else data[start:stop] + b"\n"
        start = stop


def without_long_lines(block: bytes, first: int, refused: list[Misfit]) -> bytes:
    """Take out lines above LINE_LIMIT and refuse them; where there are none, few bytes are looked at.

    `first` is the number of the block's first line; a long line gets the number of the line after it.
    """
    kept: list[bytes] = []
    start = position = 0
    while len(block) - position > LINE_LIMIT:
        newline = block.rfind(b"\n", position, position + LINE_LIMIT + 1)
        if newline < 0:
            end = block.find(b"\n", position) + 1
            number = first + block.count(b"\n", 0, position) - len(kept)
            refused.append(Misfit(number, block[position:end], TOO_LONG))
            kept.append(block[start:position])
            start = position = end
        else:
            position = newline + 1
    return block if not kept else b"".join([*kept, block[start:]])


def _numbered(refused: list[Misfit]) -> list[Misfit]:
    """Number lines as they stand in the chunk, in order: so far, long lines did not count."""
    numbered: list[Misfit] = []
    long = 0
    for each in sorted(refused, key=lambda each: (each.number, each.reason != TOO_LONG)):
        numbered.append(each._replace(number=each.number + long))
        long += each.reason == TOO_LONG
    return numbered
