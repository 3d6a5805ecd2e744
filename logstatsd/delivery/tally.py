"""Sum StatsD lines by name, type and tags, in bounded memory."""

from __future__ import annotations

import math
from typing import NamedTuple

MAX_SUMS = 10_000
"""How many series are kept apart; the values of all others are one sum."""

_OTHERS = ("(further series)", "", ())


class Sample(NamedTuple):
    """One line, parsed: its values, and what they belong to."""

    name: str
    type: str
    """The letters of the wire: ms, h, d, c, g or s."""
    tags: tuple[str, ...]
    values: tuple[float, ...]
    sample_rate: float = 1.0
    timestamp: int | None = None


def parse(line: bytes) -> Sample:
    """Read a line of DogStatsD, packed or not, or of plain StatsD with Graphite's or InfluxDB's tags.

    Raises ValueError for anything else.
    """
    text = line.decode("utf-8", "backslashreplace")
    head, colon, rest = text.partition(":")
    values, *fields = rest.split("|")
    name, tags = _name_and_tags(head)
    if not (name and colon and fields and fields[0]):
        raise ValueError("not a StatsD line")
    marks = {field[:1]: field[1:] for field in fields[1:]}
    tags += tuple(tag for tag in marks.get("#", "").split(",") if tag)
    rate = float(marks.get("@", 1))
    if not 0 < rate <= 1:
        raise ValueError("not a sample rate")
    timestamp = int(marks["T"]) if "T" in marks else None
    return Sample(name, fields[0], tags, _numbers(values.encode()), rate, timestamp)


def _numbers(packed: bytes) -> tuple[float, ...]:
    numbers = tuple(map(float, packed.split(b":")))
    if not all(map(math.isfinite, numbers)):
        raise ValueError("not a number")
    return numbers


def _name_and_tags(head: str) -> tuple[str, tuple[str, ...]]:
    for separator in ";,":
        name, found, tags = head.partition(separator)
        if found:
            return name, tuple(tag.replace("=", ":", 1) for tag in tags.split(separator))
    return head, ()


class Sum:
    """The values of one series that have arrived, summed."""

    __slots__ = ("count", "maximum", "minimum", "requests", "total")

    def __init__(self) -> None:
        self.count = 0
        self.requests = 0.0
        """How many requests the values stand for, by their sample rates."""
        self.total = 0.0
        self.minimum = math.inf
        self.maximum = -math.inf

    def add(self, values: tuple[float, ...], sample_rate: float) -> None:
        """Take in the values of one line. Raises ValueError where their sum would be infinite."""
        total = self.total + sum(values)
        if not math.isfinite(total):
            raise ValueError("an infinite sum")
        self.count += len(values)
        self.requests += len(values) / sample_rate
        self.total = total
        self.minimum = min(self.minimum, *values)
        self.maximum = max(self.maximum, *values)


class Tally:
    """All that has arrived, by (name, type, tags) in bounded memory."""

    def __init__(self, max_series: int = MAX_SUMS) -> None:
        self.sums: dict[tuple[str, str, tuple[str, ...]], Sum] = {}
        self.values = 0
        self.malformed = 0
        """Lines that are not StatsD, or of which the sum would be infinite."""
        self.refused = 0
        """Connections that were turned away."""
        self._max_series = max_series
        # What stands around the values of a line, to where they are summed; most lines have been seen before.
        self._known: dict[tuple[bytes, bytes], tuple[Sum, float]] = {}

    def add(self, packet: bytes) -> None:
        """Take in the lines of a packet."""
        for line in packet.split(b"\n"):
            if not line.strip():
                continue
            try:
                self._add_line(line)
            except ValueError:
                self.malformed += 1

    def _add_line(self, line: bytes) -> None:
        head, _, rest = line.partition(b":")
        packed, _, tail = rest.partition(b"|")
        known = self._known.get((head, tail))
        if known is None:
            sample = parse(line)
            known = self._sum_of(sample), sample.sample_rate
            if len(self._known) < self._max_series:
                self._known[head, tail] = known
        numbers = _numbers(packed)
        known[0].add(numbers, known[1])
        self.values += len(numbers)

    def _sum_of(self, sample: Sample) -> Sum:
        series = (sample.name, sample.type, sample.tags)
        if series not in self.sums and len(self.sums) >= self._max_series:
            series = _OTHERS
        return self.sums.setdefault(series, Sum())

    def as_json(self) -> dict[str, object]:
        """Turn the tally into plain data, its series sorted."""
        rows = [
            {
                "name": name,
                "type": letters,
                "tags": list(tags),
                "values": seen.count,
                "sum": seen.total,
                "min": seen.minimum,
                "max": seen.maximum,
            }
            for (name, letters, tags), seen in sorted(self.sums.items())
        ]
        return {
            "schema": 1,
            "values": self.values,
            "malformed": self.malformed,
            "refused": self.refused,
            "series": rows,
        }
