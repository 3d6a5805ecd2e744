"""Turn log lines into JSON Lines, in order: the work for `normalize`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.formats.times import iso_logged
from logstatsd.model.filters import Excluded
from logstatsd.model.line_counts import LineCounts
from logstatsd.model.route import Route, Undecided
from logstatsd.scan.entries import Entry, LineReader, StretchReader, entry_of
from logstatsd.scan.labels import is_short
from logstatsd.scan.remembered import Remembered
from logstatsd.scan.run import KEPT_SCANNERS
from logstatsd.scan.scanner import slices
from logstatsd.scan.stretches import Stretch, Stretches
from logstatsd.sources.lines import LINE_LIMIT

if TYPE_CHECKING:
    from logstatsd.formats.known import FormatChoice
    from logstatsd.formats.logformat import Row
    from logstatsd.model.batch import Window
    from logstatsd.routing.router import Router
    from logstatsd.scan.run import Task
    from logstatsd.sources.source import Chunk

MAX_PARTS = 65_536
"""How many different times, durations and labels are remembered as JSON."""


@dataclass
class Normalized:
    """A chunk as JSON Lines, between them the entries that are Undecided; and what became of its lines."""

    path: str
    parts: list[str | Entry] = field(default_factory=list)
    counts: LineCounts = field(default_factory=LineCounts)
    stretches: Stretches = field(default_factory=Stretches)
    offset: int = 0


class Wanted(NamedTuple):
    """The choices of `normalize`: what it leaves out, and whether it adds the logged target."""

    window: Window | None = None
    target: bool = False
    excluded: Excluded = Excluded()


@dataclass
class Normalize:
    """The work for `normalize`: a chunk as JSON Lines. What only the app can tell is left to do."""

    choices: tuple[FormatChoice, ...]
    router: Router
    wanted: Wanted = field(default_factory=Wanted)
    _writers: dict[int, _Writer] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_writers": {}}

    def __call__(self, task: Task) -> Normalized:
        writer = self._writers.get(task.log_number)
        if writer is None:
            if len(self._writers) >= KEPT_SCANNERS:
                del self._writers[next(iter(self._writers))]
            writer = _Writer(self.choices[task.log_number], self.router, self.wanted)
            self._writers[task.log_number] = writer
        return writer.write(task.chunk)


class _Writer:
    """A writer of the lines of one log, whichever formats they are in."""

    def __init__(self, choice: FormatChoice, router: Router, wanted: Wanted) -> None:
        self._wanted = wanted
        self._reader = StretchReader(choice, router, wanted.window)
        self._texts: dict[LineReader, _LineText] = {}

    def write(self, chunk: Chunk) -> Normalized:
        """Write a chunk as JSON Lines."""
        done, text = Normalized(chunk.path, offset=chunk.offset), list[str]()
        start, offset, number = f'{{"file": {_quoted(chunk.path)}, "offset": ', chunk.offset, 0
        current: LineReader | None = None
        data = chunk.read()
        done.counts.lost += chunk.lost(data)
        for block in slices(data):
            if not block.strip():
                self._blank(block, offset, done, text)
                offset, number = offset + len(block), number + block.count(b"\n")
                continue
            for reader, line, row in self._reader.lines(block):
                if reader is not current and reader and row[reader.position("status")]:
                    current, time = reader, row[reader.position("time")]
                    done.stretches.begin(Stretch(reader.log_format, number, offset - chunk.offset, time))
                if reader and (written := self._text(reader).written(line, row)):
                    text.append(f"{start}{offset}{written}")
                elif entry := entry_of(reader, offset, line, row):
                    self._slowly(entry, done, text)
                else:
                    done.counts.lines += 1
                    done.counts.outside += 1
                offset += len(line) + 1
                number += 1
        done.counts.lines += len(text)
        done.parts.append("".join(text))
        return done

    @staticmethod
    def _blank(block: bytes, offset: int, done: Normalized, text: list[str]) -> None:
        """Write blank lines, of which there may be very many: as one text."""
        lines = block.split(b"\n")[:-1]
        offsets = accumulate((len(line) + 1 for line in lines), initial=offset)
        start, end = f'{{"file": {_quoted(done.path)}, "offset": ', ', "rejected": "empty"}\n'
        done.counts.lines += len(text) + len(lines)
        done.counts.reject("empty", lines[0], len(lines))
        written = [f"{start}{at}{end}" for _, at in zip(lines, offsets, strict=False)]
        done.parts += ["".join(text), "".join(written)]
        text.clear()

    def _text(self, reader: LineReader) -> _LineText:
        text = self._texts.get(reader)
        if text is None:
            text = self._texts[reader] = _LineText(reader, self._wanted)
        return text

    def _slowly(self, entry: Entry, done: Normalized, text: list[str]) -> None:
        """Account for a line whose parts do not say all."""
        if isinstance(entry.route, Undecided):
            done.counts.lines += len(text) + 1
            done.parts += ["".join(text), entry]
            text.clear()
        elif entry.route is not None and entry.route in self._wanted.excluded:
            done.counts.lines += 1
            done.counts.excluded += 1
        else:
            if entry.route is None:
                done.counts.reject(entry.rejected, entry.line)
            text.append(as_line(done.path, entry, entry.route, target=self._wanted.target))


class _LineText:
    """A writer of lines of one format as JSON; the parts of a line that recur are remembered.

    A part that is empty sends its line the slow way: one that is outside the window, excluded, Undecided or
    rejected.
    """

    def __init__(self, reader: LineReader, wanted: Wanted) -> None:
        self._reader, self._wanted = reader, wanted
        self._times = Remembered(self._moment, MAX_PARTS)
        self._durations = Remembered(self._duration, MAX_PARTS)
        self._labels = Remembered(self._label, MAX_PARTS, is_short)
        self._status, self._time, self._took = map(reader.position, ("status", "time", "duration"))
        self._key = itemgetter(*map(reader.position, reader.roles), self._status)

    def written(self, line: bytes, row: Row) -> str:
        """Write what follows the offset of a line; nothing for one to be written the slow way."""
        if (
            row[self._status]
            and len(line) <= LINE_LIMIT
            and (when := self._times[row[self._time]])
            and (took := self._durations[row[self._took]])
            and (label := self._labels[self._key(row)])
        ):
            target = _target(self._reader.target(row)) if self._wanted.target else ""
            return f', "time": {when}, {label}, "duration_us": {took}{target}}}\n'
        return ""

    def _moment(self, text: bytes) -> str:
        return _quoted(iso_logged(text)) if self._reader.inside(text) else ""

    def _duration(self, text: bytes) -> str:
        try:
            return json.dumps(self._reader.duration_us(text))
        except ValueError:
            return ""

    def _label(self, key: Row) -> str:
        *head, status = key
        route, method = self._reader.label(tuple(head), status)
        if isinstance(route, Undecided) or route in self._wanted.excluded:
            return ""
        return f'{_label(method, route)}, "status": {int(status)}'


def as_line(path: str, entry: Entry, route: Route | None, *, target: bool) -> str:
    """Write one line of JSON for an entry."""
    start = f'{{"file": {_quoted(path)}, "offset": {entry.offset}, '
    if entry.rejected or route is None:
        return f'{start}"rejected": {_quoted(entry.rejected)}}}\n'
    duration = "null" if entry.duration_us is None else entry.duration_us
    return (
        f'{start}"time": {_quoted(iso_logged(entry.time))}, {_label(entry.method, route)}, '
        f'"status": {entry.status}, "duration_us": {duration}{_target(entry.target) if target else ""}}}\n'
    )


def _target(target: bytes) -> str:
    return f', "target": {json.dumps(target.decode("utf-8", "replace"))}'


def _label(method: str, route: Route) -> str:
    return (
        f'"method": {_quoted(method)}, "rule": {_quoted(route.rule)}, '
        f'"endpoint": {_quoted(route.endpoint)}, "outcome": {_quoted(route.outcome)}'
    )


@lru_cache(maxsize=4_096)
def _quoted(text: str | None) -> str:
    return json.dumps(text)
