"""The compiled scanner: counts the lines it is certain of, and has the Python scanner count the rest."""

from __future__ import annotations

from array import array
from importlib import import_module
from typing import TYPE_CHECKING, Any

from logstatsd.formats.envelopes import ENVELOPES, Prefix
from logstatsd.formats.text_reader import TextReader
from logstatsd.model.batch import Batch, Durations, Window
from logstatsd.model.distribution import Distribution, octave
from logstatsd.routing.router import OTHER_METHOD
from logstatsd.routing.tree import routes_of, tree
from logstatsd.scan.scanner import MOST_BLANK, Misfit, Scanner

_native: Any = None
try:
    _native = import_module("logstatsd._native")
except ImportError as error:
    WHY_NOT = str(error)
else:
    WHY_NOT = ""

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from logstatsd.formats.logformat import LogFormat
    from logstatsd.model.route import Route, Undecided
    from logstatsd.routing.router import Router
    from logstatsd.sources.source import Chunk

    NextScanner = Callable[[bytes], "NativeScanner | None"]

TOP_BIT = 50
"""The borders of buckets are given to the compiled scanner at this power of two."""
PORTION = 8
"""How many series are handed over at once: what bounds their memory as Python has them."""
REMEMBERED = 65_536
"""Labels that only Python could tell, and series, that one worker holds before it hands all over."""


def no_other(_unfit: bytes) -> NativeScanner | None:
    """Choose no other scanner."""
    return None


class NativeScanner:
    """Tallies chunks of one log format; the same interface as `scanner.Scanner`.

    It lets the interpreter go while it works, but is for one thread at a time. `bounded` keeps of a series
    with more than 4,096 distinct durations their Distribution only. Raises ValueError for a format or an app
    that the compiled scanner does not know.
    """

    def __init__(
        self,
        log_format: LogFormat,
        router: Router,
        *,
        window: Window | None = None,
        bucket_s: int = 0,
        bounded: bool = False,
    ) -> None:
        if WHY_NOT:
            raise ValueError(WHY_NOT)
        self.log_format = log_format
        self._is_strict = not log_format.is_json and not TextReader(log_format, frozenset()).has_second_look
        self._python = python = Scanner(log_format, router, window=window, bucket_s=bucket_s)
        self._methods = [*sorted(router.methods), OTHER_METHOD, "-"]
        self._routes = routes_of(router)
        self._asked: list[tuple[Route | Undecided, str]] = []
        self._numbers: dict[tuple[Route | Undecided, str], int] = {}
        plan = _plan(log_format, router, python, window, bounded=bounded)
        self._worker = _native.Worker(plan, self._ask, list(python.labels.roles))

    def scan(
        self,
        data: bytes,
        misfits: list[Misfit] | None = None,
        other: NextScanner = no_other,
        taken: dict[int, LogFormat] | None = None,
    ) -> Batch:
        """Tally whole lines, as `Scanner.scan` does.

        Lines that do not fit the format are given to the scanners, of further formats, that `other` chooses
        for them; `taken` then has the formats of these lines by their numbers.
        """
        batch, used = self._rest(self._worker.scan_bytes(data), misfits, other, taken)
        for each in used:
            each._hand_over(batch)
        return batch

    def count(
        self,
        chunk: Chunk,
        misfits: list[Misfit] | None = None,
        other: NextScanner = no_other,
        taken: dict[int, LogFormat] | None = None,
    ) -> Batch:
        """As `scan`; but what was measured is held until `held` gives it. Raises InputError."""
        if chunk.data is None:
            with chunk.opened() as descriptor:
                found = self._worker.scan_file(descriptor, chunk.offset, chunk.length)
        else:
            found = self._worker.scan_bytes(chunk.data)
        batch, used = self._rest(found, misfits, other, taken)
        for each in used:
            if len(each._asked) + len(each._worker) > REMEMBERED:
                each._hand_over(batch)
        return batch

    def held(self) -> Iterator[Batch]:
        """What was measured in the chunks counted so far, in portions."""
        while len(self._worker):
            batch = Batch()
            self._hand_over(batch, PORTION)
            yield batch

    def absorb(self, other: NativeScanner) -> None:
        """Take over what another scanner of the same app holds, unless that had to ask for labels."""
        if not other._asked:
            self._worker.absorb(other._worker)

    def share(self, lines: bytes) -> float:
        """The share of some lines, in bytes, that is left to Python. What is held is lost."""
        left = sum(len(line) for _, line in _left(self._worker.scan_bytes(lines), Batch()))
        self._worker.take(len(self._worker))
        return left / max(1, len(lines))

    def _rest(
        self,
        found: tuple[Any, ...],
        misfits: list[Misfit] | None,
        other: NextScanner,
        taken: dict[int, LogFormat] | None,
    ) -> tuple[Batch, list[NativeScanner]]:
        """What was counted by line, with the tally of the lines that were not; and the scanners it took."""
        *counted, unfit, numbers = found
        batch, passed_on, used, taken = (
            Batch(),
            list[tuple[int, bytes]](),
            [self],
            {} if taken is None else taken,
        )
        while unfit.strip() and self._is_strict and (chosen := other(unfit)):
            used.append(chosen)
            taken.update(dict.fromkeys(numbers, chosen.log_format))
            *there, rest, places = chosen._worker.scan_bytes(unfit)
            unsure = _left((*there, b"", []), batch)
            passed_on += [(numbers[place], line) for place, line in unsure]
            unfit, numbers = rest, [numbers[place] for place in places]
        left = sorted([*_left((*counted, unfit, numbers), batch), *passed_on])
        for number, _ in left:
            taken.pop(number, None)
        refused = None if misfits is None else list[Misfit]()
        if left:
            batch.add(self._python.scan(b"\n".join(line for _, line in left) + b"\n", refused))
        for misfit in refused or ():
            misfits.append(misfit._replace(number=left[misfit.number][0]))  # type: ignore[union-attr]
        return batch, used

    def _ask(self, head: tuple[bytes, ...], websocket: bool) -> int:
        """The number of a label that the compiled scanner is not certain of."""
        label = self._python.labels.label((*head, b"1" if websocket else b""))
        if label not in self._numbers:
            self._numbers[label] = len(self._routes) * len(self._methods) + len(self._asked)
            self._asked.append(label)
        return self._numbers[label]

    def _label(self, number: int) -> tuple[Route | Undecided, str]:
        route, method = divmod(number, len(self._methods))
        if route < len(self._routes):
            return self._routes[route], self._methods[method]
        return self._asked[number - len(self._routes) * len(self._methods)]

    def _hand_over(self, batch: Batch, series: int = 1 << 32) -> None:
        """Put what was measured so far into a Batch, or so many series of it."""
        for number, status, at_s, untimed, wall, cpu in self._worker.take(series):
            route, method = self._label(number)
            for role, values in (("duration", wall), ("cpu", cpu)):
                durations: Durations = values if isinstance(values, dict) else {}
                if untimed and role == "duration":
                    durations[None] = untimed
                if durations:
                    batch.put(route, method, status, at_s, role=role, durations=durations)
                if isinstance(values, tuple):
                    batch.put_bounded(route, method, status, at_s, role=role, values=_distribution(values))
        if not len(self._worker) and len(self._asked) > REMEMBERED // 2:
            self._asked, self._numbers = [], {}
            self._worker.forget()


def _left(found: tuple[Any, ...], batch: Batch) -> list[tuple[int, bytes]]:
    """The lines that were not counted, with their numbers; those that were go into the batch."""
    lines, outside, first_s, last_s, residue, numbers, unfit, unfit_numbers = found
    batch.counts.lines += lines
    batch.counts.outside += outside
    batch.period.extend(moment for moment in (first_s, last_s) if moment is not None)
    unsure = [*zip(numbers, residue.split(b"\n"), strict=False)]
    if len(unfit_numbers) <= MOST_BLANK:
        return [*unsure, *zip(unfit_numbers, unfit.split(b"\n"), strict=False)]
    unsure += [(n, line) for n, line in zip(unfit_numbers, unfit.split(b"\n"), strict=False) if line.strip()]
    blank = len(unfit_numbers) + len(numbers) - len(unsure)
    batch.counts.lines += blank
    batch.counts.reject("empty", b"", blank)
    return unsure


def _plan(
    log_format: LogFormat, router: Router, python: Scanner, window: Window | None, *, bounded: bool
) -> Any:
    """What the compiled scanner is told of a format and of the app."""
    return _native.Plan(
        {
            **_reading(log_format, python.roles),
            "envelopes": [_layer(name) for name in log_format.envelopes],
            "duration_unit": python.units["duration"],
            "cpu_unit": python.units.get("cpu", ""),
            "window_s": None if window is None else tuple(window),
            "bucket_s": python.bucket_s,
            "borders": octave(TOP_BIT) if bounded else None,
            "router": tree(router),
        }
    )


def make(log_format: LogFormat, router: Router, **options: Any) -> NativeScanner:
    """Make the scanner, as SCANNERS asks for it. Raises ValueError for what it does not know."""
    return NativeScanner(log_format, router, **options)


def _distribution(histogram: tuple[int, int, int, int, bytes]) -> Distribution:
    count, total_us, min_us, max_us, buckets = histogram
    places = array("Q", buckets)
    return Distribution.of_buckets(places, count=count, total_us=total_us, min_us=min_us, max_us=max_us)


def _reading(log_format: LogFormat, roles: frozenset[str]) -> dict[str, Any]:
    """How a format's lines are read: by a pattern with its columns, or by keys."""
    if log_format.is_json:
        chosen = [(role, token) for role, token in log_format.chosen.items() if role in roles]
        keys = [(key, role) for key, token in log_format.keys for role, taken in chosen if taken is token]
        return {"pattern": None, "ends": b"", "columns": [role for _, role in keys], "keys": keys}
    reader = TextReader(log_format, roles)
    pattern, columns = reader.grammar
    return {"pattern": pattern.decode(), "ends": reader.ends, "columns": columns, "keys": []}


def _layer(name: str) -> tuple[str, str, str]:
    layer = ENVELOPES[name].layer
    if isinstance(layer, Prefix):
        return "prefix", layer.pattern.decode("ascii"), layer.colour.decode()
    return "json", layer.key, layer.end
