"""Chunk of bytes to Batch: the hot loop."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import compress, repeat
from operator import add, not_
from typing import TYPE_CHECKING, Any, NamedTuple

from logstatsd.clocks import duration_us, durations_us, moment_s
from logstatsd.formats import LogFormat, Row
from logstatsd.labels import NOT_THE_APP, Route, Undecided
from logstatsd.readers import reader_of, why

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from logstatsd.readers import Reader
    from logstatsd.routes import Router

LINE_LIMIT = 65_536
"""A longer line, in bytes, is rejected."""
SLICE = 1 << 17
"""How much is matched at once, in bytes: what fits the processor's cache is matched faster."""
REMEMBERED = 65_536
LONGEST_REMEMBERED = 512
SAMPLES = 5
MEASURES = ("duration", "cpu")
"""The roles that are measured, in microseconds."""

_NO_PATH = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/]*(?:[?#].*)?$")
FLAGS = frozenset(("upstream", "signature"))
"""Roles that are empty but for the few requests that the app never saw."""

Columns = list[tuple[bytes, ...]]

Durations = dict[int | None, int]
"""A multiset of durations in microseconds; None is for requests that were logged without one."""


class Series(NamedTuple):
    """What requests are counted under. `at_s` is the bucket of time in unix seconds, if there are any."""

    route: Route
    method: str
    status: int
    at_s: int | None = None


class Pending(NamedTuple):
    """A Series whose route only the app can tell."""

    route: Undecided
    method: str
    status: int
    at_s: int | None = None


@dataclass(slots=True)
class Batch:
    """The tally of a stretch of log. Batches add up in any order."""

    lines: int = 0
    outside: int = 0
    timings: dict[Series, Durations] = field(default_factory=dict)
    cpu: dict[Series, Durations] = field(default_factory=dict)
    pending: dict[Pending, Durations] = field(default_factory=dict)
    pending_cpu: dict[Pending, Durations] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[str, bytes]] = field(default_factory=list)
    first_s: float | None = None
    last_s: float | None = None

    @property
    def parsed(self) -> int:
        return self.lines - self.outside - self.rejected.total()

    def reject(self, reason: str, line: bytes, count: int = 1) -> None:
        self.rejected[reason] += count
        if len(self.samples) < SAMPLES:
            self.samples.append((reason, line[:1_000]))

    def put(self, label: Label, status: int, at_s: int | None, role: str, durations: Durations) -> None:
        """Add what was measured in one role under a label and a status."""
        into: Any
        if isinstance(label.route, Route):
            key: Series | Pending = Series(label.route, label.method, status, at_s)
            into = self.timings if role == "duration" else self.cpu
        else:
            key = Pending(label.route, label.method, status, at_s)
            into = self.pending if role == "duration" else self.pending_cpu
        known = into.setdefault(key, {})
        for value, count in durations.items():
            known[value] = known.get(value, 0) + count

    def saw(self, moments: Iterable[float]) -> None:
        """Stretch the time that the batch covers over `moments`, in unix seconds."""
        known = [moment for moment in (self.first_s, self.last_s) if moment is not None]
        seen = [*known, *moments]
        if seen:
            self.first_s, self.last_s = min(seen), max(seen)


class Window(NamedTuple):
    """The stretch of time that counts, in unix seconds: from `since_s` on and before `until_s`."""

    since_s: float = float("-inf")
    until_s: float = float("inf")


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
        batch.lines += len(rows)
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
            batch.outside += len(kept) - sum(kept)
            moments = {text: moment for text, moment in moments.items() if inside[text]}
        batch.saw(moment for moment in moments.values() if moment is not None)
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
            batch.put(label, int(status), int(bucket) if bucket else None, role, durations)

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
                    wanted = len(batch.samples) < SAMPLES  # finding the line takes a pass over the chunk
                    batch.reject("bad duration", _line_with(data, text) if wanted else b"", count)
            else:
                kept[text] = count
        return values, kept


class Label(dict[bytes, list[bytes]]):
    """A route with the method shown, and what was measured under it: texts by `[bucket ]status`.

    The durations are the dictionary itself, since that is looked up for every line; `measured` has them all,
    by role.
    """

    __slots__ = ("measured", "method", "route")

    def __init__(self, route: Route | Undecided, method: str) -> None:
        self.route, self.method = route, method
        self.measured: dict[str, dict[bytes, list[bytes]]] = {"duration": self, "cpu": defaultdict(list)}

    def __missing__(self, status: bytes) -> list[bytes]:
        texts = self[status] = []
        return texts


class Labels:
    """The Label of every request head, remembered in bounded memory."""

    def __init__(self, log_format: LogFormat, router: Router) -> None:
        wanted = {"request", "method", "target", "path", "upstream", "signature"}
        self.roles: tuple[str, ...] = tuple(sorted(wanted | ({"host"} if router.uses_host else set())))
        self.known: list[Label] = []
        self._format, self._router = log_format, router
        # of `GET http://host`, nginx makes a path of `/`, gunicorn an empty one
        self._keeps_empty_paths = log_format.server == "gunicorn"
        self._by_route: dict[tuple[int, str], Label] = {}
        self._remembered = _Remembered(self._label)

    def make_room(self) -> None:
        """Forget everything once too much is known: where many requests are left undecided."""
        if len(self.known) > REMEMBERED:
            self.known.clear()
            self._by_route.clear()
            self._remembered.clear()

    def of(self, columns: Columns, statuses: Sequence[bytes]) -> list[Label]:
        """The labels for columns of heads, in the order of `roles`."""
        remembered = self._remembered
        if self._router.uses_websocket:
            upgraded = tuple(b"1" if status == b"101" else b"" for status in statuses)
            columns = [*columns, upgraded]
        if set(self.roles) - FLAGS != {"request"}:
            return [remembered[head] for head in zip(*columns, strict=True)]
        requests = self.roles.index("request")
        heads: Sequence[bytes | Row] = columns[requests]
        flags = [column for n, column in enumerate(columns) if n != requests and any(column)]
        if flagged := {n for column in flags for n, flag in enumerate(column) if flag}:
            rows = enumerate(zip(*columns, strict=True))
            heads = [row if n in flagged else row[requests] for n, row in rows]
        return [remembered[head] for head in heads]

    def label(self, head: bytes | Row) -> tuple[Route | Undecided, str]:
        """The route and the method shown of one head."""
        host, upgraded, refused = "", False, False
        if isinstance(head, bytes):  # nothing but the request
            method, _, target = head.partition(b" ")
        else:
            given = dict(zip((*self.roles, "websocket"), head, strict=False))
            method, target = self._asked(given)
            refused = bool(given.get("upstream") or given.get("signature"))
            host = self._format.unescape(given.get("host", b"")).decode("latin-1")
            upgraded = bool(given.get("websocket"))
        if not target or not method or target == b"-":
            return NOT_THE_APP, "-"
        if b"\\" in target or not target.isascii():
            target = self._format.unescape(target)
        verb = method.decode("latin-1")
        shown = self._router.clean_method(verb)
        if refused:
            return NOT_THE_APP, shown
        if self._keeps_empty_paths and b"://" in target and _NO_PATH.match(target):
            target = b""
        return self._router.walk(verb, target, host, upgraded), shown

    def _asked(self, given: dict[str, bytes]) -> tuple[bytes, bytes]:
        """Method and target, whichever columns hold them."""
        if "request" in given:
            method, _, target = given["request"].partition(b" ")
            return method, target
        target = given.get("target", b"")
        if not target and "path" in given:  # decoded already: what would be decoded again is encoded
            path = self._format.unescape(given["path"])
            target = path.replace(b"%", b"%25").replace(b"?", b"%3F").replace(b"#", b"%23")
        return given.get("method", b""), target

    def _label(self, head: bytes | Row) -> Label:
        route, method = self.label(head)
        identity = (id(route), method)  # `known` keeps the route alive
        label = self._by_route.get(identity)
        if label is None:
            label = self._by_route[identity] = Label(route, method)
            self.known.append(label)
        return label


class _Remembered(dict[bytes | Row, Label]):
    """A dictionary that works out what it lacks, and starts afresh rather than grow too large."""

    def __init__(self, work_out: Callable[[bytes | Row], Label]) -> None:
        self._work_out = work_out

    def __missing__(self, head: bytes | Row) -> Label:
        label = self._work_out(head)
        if (len(head) if isinstance(head, bytes) else sum(map(len, head))) <= LONGEST_REMEMBERED:
            if len(self) >= REMEMBERED:
                self.clear()
            self[head] = label
        return label


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
            batch.lines += 1
            batch.reject("too long", block[position:end])
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
            batch.reject(why(log_format, line), line)
    return rows


def _line_with(data: bytes, text: bytes) -> bytes:
    at = max(data.find(text), 0)
    end = data.find(b"\n", at)
    return data[data.rfind(b"\n", 0, at) + 1 : end if end >= 0 else len(data)]
