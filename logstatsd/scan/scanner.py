"""Chunk of bytes to Batch: the hot loop."""

from __future__ import annotations

from collections import Counter
from itertools import compress, repeat
from operator import add, not_
from typing import TYPE_CHECKING

from logstatsd.formats.reader import reader_of, why
from logstatsd.formats.times import duration_us, durations_us, moment_s
from logstatsd.model.batch import Batch, Durations, Window
from logstatsd.model.line_counts import SAMPLES
from logstatsd.scan.labels import Columns, Label, Labels
from logstatsd.sources.lines import LINE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from logstatsd.formats.logformat import LogFormat, Row
    from logstatsd.formats.reader import Reader
    from logstatsd.routing.router import Router

SLICE = 1 << 17
"""How much is matched at once, in bytes: what fits the processor's cache is matched faster."""
MEASURES = ("duration", "cpu")
"""The roles that are measured, in microseconds."""


class Scanner:
    """Tallies chunks of one log format. It remembers labels from chunk to chunk, in bounded memory.

    `bucket_s` splits every series by time into buckets of so many seconds.
    """

    def __init__(
        self, log_format: LogFormat, router: Router, *, window: Window | None = None, bucket_s: int = 0
    ) -> None:
        self._window, self._bucket_s = window, bucket_s
        self._format = log_format
        self._labels = Labels(log_format, router)
        self._reader = reader_of(log_format, {*self._labels.roles, "status", "duration", "time", "cpu"})
        self._column = {name: n for n, name in enumerate(self._reader.columns)}
        self._labels.roles = tuple(role for role in self._labels.roles if role in self._column)
        measured = {role: log_format.chosen[role].field.unit for role in MEASURES if role in self._column}
        self._units = {"duration": "", **measured}

    def scan(self, data: bytes) -> Batch:
        """Tally whole lines; the last one may lack its newline."""
        batch = Batch()
        for block in slices(data):
            self._count(without_long_lines(block, batch), batch)
        for label in self._labels.known:
            for role, measured in label.measured.items():
                for key, texts in measured.items():
                    if key:  # what has no status was rejected
                        self._fold(label, key, role, texts, batch=batch, data=data)
                measured.clear()
        self._labels.make_room()
        return batch

    def _count(self, block: bytes, batch: Batch) -> None:
        rows = self._reader.rows(block)
        batch.counts.lines += len(rows)
        columns = list(zip(*rows, strict=True))
        statuses = columns[self._column["status"]] if rows else ()
        if b"" in statuses:  # such rows run along, and are passed over in the end
            lines = compress(columns[-1], map(not_, statuses))
            if rescued := again(self._reader, self._format, lines, batch):
                self._tally(list(zip(*rescued, strict=True)), batch)
        if rows:
            self._tally(columns, batch)

    def _tally(self, columns: Columns, batch: Batch) -> None:
        """Note under each row's label and status what was measured, as it is written."""
        if "time" in self._column:
            columns = self._timed(columns, batch)
        statuses: Sequence[bytes] = columns[self._column["status"]]
        labels = self._labels.of([columns[self._column[role]] for role in self._labels.roles], statuses)
        if self._bucket_s:
            statuses = list(map(add, self._buckets(columns[self._column["time"]]), statuses))
        for role in self._units:
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
        """For each time the start of its bucket; nothing for none, as in a rejected line."""
        starts = {b"": b""}
        for text in set(texts) - {b""}:
            starts[text] = b"%d " % ((moment_s(text) or 0) // self._bucket_s * self._bucket_s)
        return map(starts.__getitem__, texts)

    def _fold(
        self, label: Label, key: bytes, role: str, texts: list[bytes], *, batch: Batch, data: bytes
    ) -> None:
        """Turn what was noted under a label and `[bucket ]status` into a series of durations."""
        counted = Counter(texts)
        try:
            values: Sequence[int | None] = durations_us(counted, self._units[role])
        except ValueError:
            values, counted = self._without_odd(counted, role, batch, data)
        durations: Durations = {}
        for value, count in zip(values, counted.values(), strict=True):
            if value is not None or role == "duration":
                durations[value] = durations.get(value, 0) + count
        if durations:
            bucket, _, status = key.rpartition(b" ")
            at_s = int(bucket) if bucket else None
            batch.put(label.route, label.method, int(status), at_s, role=role, durations=durations)

    def _without_odd(
        self, counted: Counter[bytes], role: str, batch: Batch, data: bytes
    ) -> tuple[list[int | None], Counter[bytes]]:
        """The durations one by one; rejects what is none."""
        kept: Counter[bytes] = Counter()
        values = []
        for text, count in counted.items():
            try:
                values.append(duration_us(text, self._units[role]))
            except ValueError:
                if role == "duration":
                    wanted = (
                        len(batch.counts.samples) < SAMPLES
                    )  # finding the line takes a pass over the chunk
                    batch.counts.reject("bad duration", _line_with(data, text) if wanted else b"", count)
            else:
                kept[text] = count
        return values, kept


def slices(data: bytes) -> Iterator[bytes]:
    """Cut whole lines into pieces of about SLICE bytes, each ending in a newline."""
    start, size = 0, len(data)
    while start < size:
        stop = size if size - start <= SLICE else data.rfind(b"\n", start, start + SLICE) + 1
        stop = stop or data.find(b"\n", start) + 1 or size
        yield data[start:stop] if data.endswith(b"\n", start, stop) else data[start:stop] + b"\n"
        start = stop


def without_long_lines(block: bytes, batch: Batch) -> bytes:
    """Take out lines above LINE_LIMIT and reject them; where there are none, few bytes are looked at."""
    kept, start, position = [], 0, 0
    while len(block) - position > LINE_LIMIT:
        newline = block.rfind(b"\n", position, position + LINE_LIMIT + 1)
        if newline < 0:
            end = block.find(b"\n", position) + 1
            batch.counts.lines += 1
            batch.counts.reject("too long", block[position:end])
            kept.append(block[start:position])
            start = position = end
        else:
            position = newline + 1
    return block if not kept else b"".join([*kept, block[start:]])


def again(reader: Reader, log_format: LogFormat, lines: Iterable[bytes], batch: Batch) -> list[Row]:
    """Give rejected lines their second chance; what fails that too is rejected in the batch."""
    rows = []
    for line in lines:
        row = reader.again(line)
        if row:
            rows.append(row)
        else:
            batch.counts.reject(why(log_format, line), line)
    return rows


def _line_with(data: bytes, text: bytes) -> bytes:
    at = max(data.find(text), 0)
    end = data.find(b"\n", at)
    return data[data.rfind(b"\n", 0, at) + 1 : end if end >= 0 else len(data)]
