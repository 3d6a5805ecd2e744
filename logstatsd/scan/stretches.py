"""Scan a log whose format changes: formats belong to stretches of it, not to the file."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from operator import itemgetter, ne
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.formats.known import FormatChoice, KnownFormats
from logstatsd.formats.reader import Reader, reader_of
from logstatsd.formats.times import iso_logged
from logstatsd.model.batch import Batch
from logstatsd.scan.native import NativeScanner
from logstatsd.scan.scanner import TOO_LONG, Misfit, slices
from logstatsd.scan.scanners import make_scanner
from logstatsd.sources.lines import LINE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from logstatsd.formats.logformat import LogFormat
    from logstatsd.model.batch import Window
    from logstatsd.routing.router import Router
    from logstatsd.scan.scanners import AnyScanner
    from logstatsd.sources.source import Chunk

FIRST_STRETCHES = 4
"""How many beginnings of stretches are kept of a chunk; of the others only how many there are."""
NEWLINE = re.compile(b"\n")
NO_FORMAT = 255


class Stretch(NamedTuple):
    """The beginning of lines of one format: its line in the chunk, from 0, its byte there, its time."""

    log_format: LogFormat
    line: int
    offset: int
    time: bytes


@dataclass
class Stretches:
    """The formats of a chunk's lines, in order: the first few stretches, and how many more there are."""

    first: list[Stretch] = field(default_factory=list)
    more: int = 0
    last: LogFormat | None = None

    def begin(self, stretch: Stretch) -> None:
        """Take in the next stretch."""
        known = {each.log_format for each in self.first}
        if len(self.first) < FIRST_STRETCHES or stretch.log_format not in known:
            self.first.append(stretch)
        else:
            self.more += 1
        self.last = stretch.log_format

    def skip(self, stretches: int, last: LogFormat) -> None:
        """Take in so many more stretches, of which only the last one's format is kept."""
        self.more += stretches
        self.last = last


class Part(NamedTuple):
    """Lines of one format, as they stand in the log; lines of other formats among them do not fit it."""

    log_format: LogFormat
    data: bytes


class StretchScanner:
    """Tallies chunks of one log, whichever formats its lines are in.

    A chunk is scanned in the format in which it begins; what does not fit that is scanned in the others that
    are known, and then in what is found by looking at the rest. `scanner` is a name of SCANNERS. For one that
    `holds`, a series with very many different durations is a Distribution.
    """

    def __init__(
        self,
        choice: FormatChoice,
        router: Router,
        *,
        window: Window | None = None,
        bucket_s: int = 0,
        scanner: str = "",
        holds: bool = False,
    ) -> None:
        self._known = KnownFormats(choice)
        self._router, self._window, self._bucket_s = router, window, bucket_s
        self._scanner_name, self._holds = scanner, holds
        self._scanners: dict[LogFormat, AnyScanner] = {}

    def scan(self, data: bytes) -> tuple[Batch, Stretches]:
        """Tally whole lines, and tell the formats they are in."""
        batch, stretches, _ = self.scan_parts(data)
        return batch, stretches

    def scan_parts(self, data: bytes) -> tuple[Batch, Stretches, list[Part]]:
        """Tally whole lines, and give the lines of each format."""
        main = self._known.likeliest(data)
        misfits: list[Misfit] = []
        taken: dict[int, LogFormat] = {}
        scanner = self._scanner(main) if main else None
        if isinstance(scanner, NativeScanner):
            batch = scanner.scan(data, misfits, self._other_than(scanner), taken)
        else:
            batch = scanner.scan(data, misfits) if scanner else _unread(data, misfits)
        parts = [Part(main, data)] if main else []
        parts += _taken_parts(data, taken)
        settled = self._settled(main, misfits, batch, parts, taken, beginning=data, read=lambda: data)
        return batch, settled, parts

    def count(self, chunk: Chunk) -> tuple[Batch, Stretches]:
        """As `scan`; but what the compiled scanner measured, it holds until `held`. Raises InputError."""
        beginning = chunk.beginning()
        main = self._known.likeliest(beginning)
        scanner = self._scanner(main) if main else None
        if not self._holds or not isinstance(scanner, NativeScanner):
            return self.scan(chunk.read())
        misfits: list[Misfit] = []
        taken: dict[int, LogFormat] = {}
        batch = scanner.count(chunk, misfits, self._other_than(scanner), taken)
        return batch, self._settled(main, misfits, batch, [], taken, beginning=beginning, read=chunk.read)

    def _other_than(self, scanner: NativeScanner) -> Callable[[bytes], NativeScanner | None]:
        """Choose, one after the other, compiled scanners for lines that do not fit the first one's format."""
        tried = {scanner.log_format}

        def choose(unfit: bytes) -> NativeScanner | None:
            known = next((each for each in self._known.formats if each not in tried), None)
            log_format = known or self._known.find(unfit.split(b"\n"))
            if log_format is None:
                return None
            tried.add(log_format)
            chosen = self._scanner(log_format)
            return chosen if isinstance(chosen, NativeScanner) else choose(unfit)

        return choose

    def share(self, log_format: LogFormat, lines: bytes) -> float:
        """The share of some lines of a format that the compiled scanner leaves to Python."""
        scanner = self._scanner(log_format)
        return scanner.share(lines) if isinstance(scanner, NativeScanner) else 1.0

    def compiled(self) -> Iterator[NativeScanner]:
        """The compiled scanners, with what they hold."""
        return (each for each in self._scanners.values() if isinstance(each, NativeScanner))

    def _settled(
        self,
        main: LogFormat | None,
        misfits: list[Misfit],
        batch: Batch,
        parts: list[Part],
        taken: dict[int, LogFormat],
        *,
        beginning: bytes,
        read: Callable[[], bytes],
    ) -> Stretches:
        """Scan what does not fit in other formats, reject the rest; returns the formats of all lines."""
        if misfits:
            misfits = self._scan_misfits(main, misfits, batch, taken, parts)
            self._reject(misfits, batch)
        numbers = {each.number for each in misfits}
        return _stretches(read() if taken else beginning, main, batch.counts.lines, taken, numbers)

    def _scan_misfits(
        self,
        main: LogFormat | None,
        misfits: list[Misfit],
        batch: Batch,
        taken: dict[int, LogFormat],
        parts: list[Part],
    ) -> list[Misfit]:
        """Scan lines in the other formats; returns those that fit none."""
        tried = {main}
        while log_format := self._next(tried, misfits):
            tried.add(log_format)
            tried_on = [each for each in misfits if each.reason != TOO_LONG]
            rest: list[Misfit] = []
            joined = b"\n".join([each.line.replace(b"\n", b"") for each in tried_on]) + b"\n"
            batch.add(self._scanner(log_format).scan(joined, rest))
            left = {each.number for each in rest}
            fitted = [each for n, each in enumerate(tried_on) if n not in left]
            taken.update((each.number, log_format) for each in fitted)
            parts.append(Part(log_format, joined))
            misfits = [each for each in misfits if each.number not in taken]
        return misfits

    def _next(self, tried: set[LogFormat | None], misfits: Sequence[Misfit]) -> LogFormat | None:
        """The next format to try on what is left."""
        lines = [each.line for each in misfits if each.reason != TOO_LONG]
        if not lines:
            return None
        return next((each for each in self._known.formats if each not in tried), None) or self._known.find(
            lines
        )

    @staticmethod
    def _reject(misfits: Sequence[Misfit], batch: Batch) -> None:
        batch.counts.lines += len(misfits)
        for each in misfits:
            batch.counts.reject(each.reason, each.line)

    def _scanner(self, log_format: LogFormat) -> AnyScanner:
        scanner = self._scanners.get(log_format)
        if scanner is None:
            scanner = self._scanners[log_format] = make_scanner(
                log_format,
                self._router,
                scanner=self._scanner_name,
                window=self._window,
                bucket_s=self._bucket_s,
                bounded=self._holds,
            )
        return scanner


def _taken_parts(data: bytes, taken: dict[int, LogFormat]) -> list[Part]:
    """The lines that the compiled scanner took in other formats, of each format its own."""
    if not taken:
        return []
    lines = data.split(b"\n")
    parts: dict[LogFormat, list[bytes]] = {}
    for number, log_format in sorted(taken.items(), key=itemgetter(0)):
        parts.setdefault(log_format, []).append(lines[number])
    return [Part(log_format, b"\n".join(own) + b"\n") for log_format, own in parts.items()]


def _unread(data: bytes, misfits: list[Misfit]) -> Batch:
    """A batch of the blank lines alone, where no format is known yet; the others are misfits."""
    batch, number = Batch(), 0
    for block in slices(data):
        if not block.strip():  # a blank head may be long
            lines = block.count(b"\n")
            batch.counts.lines += lines
            batch.counts.reject("empty", b"", lines)
            number += lines
            continue
        for line in block.split(b"\n")[:-1]:
            if line.strip():
                misfits.append(Misfit(number, line, TOO_LONG if len(line) > LINE_LIMIT else "no match"))
            else:
                batch.counts.lines += 1
                batch.counts.reject("empty", line)
            number += 1
    return batch


def _stretches(
    data: bytes, main: LogFormat | None, lines: int, taken: dict[int, LogFormat], rejected: set[int]
) -> Stretches:
    """Find which format each stretch of a chunk is in; rejected lines are part of the stretch around them."""
    found = Stretches()
    if not taken:
        if main and lines > len(rejected):
            found.begin(_stretch(data, main, 0, 0))
        return found
    formats, kinds = _kinds(main, lines, taken, rejected)
    position, current = 0, NO_FORMAT
    while position < lines and len(found.first) < FIRST_STRETCHES:
        kind = kinds[position]
        if kind not in (current, NO_FORMAT):
            current = kind
            found.begin(_stretch(data, formats[kind], position, _offset(data, position)))
        position = lines - len(kinds[position:].lstrip(bytes((kind, NO_FORMAT))))
    rest = bytes((current,)) + kinds[position:].translate(None, bytes((NO_FORMAT,)))
    found.skip(sum(map(ne, rest, rest[1:])), formats[rest[-1]])
    for kind in set(rest) - {formats.index(stretch.log_format) for stretch in found.first}:
        found.first.append(Stretch(formats[kind], kinds.index(kind), 0, b""))
    return found


def _kinds(
    main: LogFormat | None, lines: int, taken: dict[int, LogFormat], rejected: set[int]
) -> tuple[list[LogFormat], bytearray]:
    """The formats of a chunk, and for each line a byte: its format, or NO_FORMAT where it was rejected."""
    formats = [main] if main else []
    kinds = bytearray(lines) if main else bytearray([NO_FORMAT]) * lines
    codes = {id(main): 0}
    for number, log_format in taken.items():
        code = codes.get(id(log_format))
        if code is None:
            code = codes[id(log_format)] = len(formats)
            formats.append(log_format)
        kinds[number] = code
    for number in rejected:
        kinds[number] = NO_FORMAT
    return formats, kinds


def _offset(data: bytes, line: int) -> int:
    """Where a line begins in a chunk, in bytes."""
    return next(islice(NEWLINE.finditer(data), line - 1, None)).end() if line else 0


@lru_cache(maxsize=64)
def _time_reader(log_format: LogFormat) -> Reader:
    return reader_of(log_format, ("time", "status"))


def _stretch(data: bytes, log_format: LogFormat, line: int, offset: int) -> Stretch:
    reader = _time_reader(log_format)
    end = data.find(b"\n", offset)
    rows = reader.rows(data[offset : end if end >= 0 else len(data)] + b"\n")
    time = rows[0][reader.columns.index("time")] if "time" in reader.columns and rows else b""
    return Stretch(log_format, line, offset, time)


class FormatChanges:
    """Follows the formats of logs through their pieces, in order, and words each change."""

    TOLD = 3
    """How many changes of a log are told one by one."""

    def __init__(self) -> None:
        self.by_log: dict[str, list[LogFormat]] = {}
        """The formats met in each log, in the order of their coming."""
        self._current: dict[str, LogFormat] = {}
        self._changes: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()

    def note(
        self, path: str, lines: int, stretches: Stretches, *, offset: int | None = None, numbered: bool = True
    ) -> list[str]:
        """Take in the next piece of a log, of so many lines; returns what to tell.

        `offset` is where the piece begins, for a log whose lines before it were not read; without that and
        not `numbered`, only the time tells where.
        """
        told = []
        for stretch in stretches.first:
            before = self._current.get(path)
            if before is not None and before != stretch.log_format:
                self._changes[path] += 1
                if self._changes[path] <= self.TOLD:
                    number = self._seen[path] + stretch.line + 1
                    where = f" at line {number:,}" if numbered else ""
                    where = where if offset is None else f" at byte {offset + stretch.offset:,}"
                    told.append(_change(path, where, before, stretch))
            self._current[path] = stretch.log_format
            met = self.by_log.setdefault(path, [])
            if stretch.log_format not in met:
                met.append(stretch.log_format)
        if stretches.last:
            self._current[path] = stretches.last
        self._changes[path] += stretches.more
        self._seen[path] += lines
        return told

    def begin(self, path: str, log_format: LogFormat) -> None:
        """Take in the format that a log had before its first piece."""
        self._current[path] = log_format

    def current(self, path: str) -> LogFormat | None:
        """The format of the last line that fitted one."""
        return self._current.get(path)

    @property
    def formats(self) -> list[LogFormat]:
        """The formats of all logs."""
        return list(dict.fromkeys(each for met in self.by_log.values() for each in met))

    def summary(self) -> list[str]:
        """Tell at the end of logs whose changes were too many to be told one by one."""
        return [
            f"{path}: its format changed {changes:,} times in all"
            for path, changes in self._changes.items()
            if changes > self.TOLD
        ]


def _change(path: str, where: str, before: LogFormat, stretch: Stretch) -> str:
    moment = (iso_logged(stretch.time) or "").partition("+")[0].replace("T", " ")
    when = f" ({moment})" if moment else ""
    after = stretch.log_format.name
    after += " (other columns)" if after == before.name else ""
    return f"{path}: format changed{where}{when}: {before.name} → {after}"
