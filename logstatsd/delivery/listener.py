"""Listen: receive StatsD traffic and sum it by name and tags, so that a person can see what arrives."""

from __future__ import annotations

import errno
import math
import selectors
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from logstatsd.errors import OptionError
from logstatsd.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.table import Table

MAX_SERIES = 10_000
_SHOWN_CHARS = 200
_RECEIVE_BYTES = 4 << 20
_READ_BYTES = 1 << 16
_DRAIN_S = 1.0
_LONGEST_PACKET = 1 << 20
_OTHERS = ("(further series)", "", ())


class Sample(NamedTuple):
    """One line, read: its values, and what they belong to."""

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
    """What has arrived of one series."""

    __slots__ = ("count", "maximum", "minimum", "requests", "total")

    def __init__(self) -> None:
        self.count = 0
        self.requests = 0.0
        """How many requests the values stand for, by their sample rates."""
        self.total = 0.0
        self.minimum = math.inf
        self.maximum = -math.inf

    def add(self, values: tuple[float, ...], sample_rate: float) -> None:
        """Take in the values of one line."""
        self.count += len(values)
        self.requests += len(values) / sample_rate
        self.total += sum(values)
        self.minimum = min(self.minimum, *values)
        self.maximum = max(self.maximum, *values)


class Tally:
    """All that has arrived, by (name, type, tags) in bounded memory."""

    def __init__(self, max_series: int = MAX_SERIES) -> None:
        self.sums: dict[tuple[str, str, tuple[str, ...]], Sum] = {}
        self.values = 0
        self.malformed = 0
        """Lines that are not StatsD."""
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
        self.values += len(numbers)
        known[0].add(numbers, known[1])

    def _sum_of(self, sample: Sample) -> Sum:
        series = (sample.name, sample.type, sample.tags)
        if series not in self.sums and len(self.sums) >= self._max_series:
            series = _OTHERS
        return self.sums.setdefault(series, Sum())

    def as_json(self) -> dict[str, object]:
        """The tally as plain data, its series sorted."""
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
        return {"schema": 1, "values": self.values, "malformed": self.malformed, "series": rows}


def render(tally: Tally, rows: int | None = None) -> Table:
    """The tally as a table for a terminal, busiest series first; at most `rows` of them."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table("metric", "tags", "type", box=None, pad_edge=False, header_style="bold")
    for heading in ("values", "mean", "min", "max"):
        table.add_column(heading, justify="right", no_wrap=True)
    busiest = sorted(tally.sums.items(), key=lambda item: (-item[1].count, item[0]))
    for (name, letters, tags), seen in busiest[:rows]:
        numbers = (seen.total / seen.count, seen.minimum, seen.maximum)
        # Text, since a str would be read as rich's markup.
        labels = [
            Text(clean(label, _SHOWN_CHARS), overflow="fold") for label in (name, " ".join(tags), letters)
        ]
        table.add_row(*labels, f"{seen.count:,}", *(f"{number:,.6g}" for number in numbers))
    if rows is not None and len(busiest) > rows:
        table.add_row(Text(f"and {len(busiest) - rows:,} more series"))
    return table


class Listener:
    """A bound socket, of UDP, TCP or a Unix path, that feeds a Tally.

    `socket_path` may start with unixstream:// for the stream with length prefixes; otherwise it takes
    datagrams. Port 0 is any free one; `address` tells which. Raises OptionError where it cannot listen.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 8125, socket_path: str | None = None, *, tcp: bool = False
    ) -> None:
        self.tally = Tally()
        self._framed = socket_path is not None and socket_path.startswith("unixstream://")
        self._path = Path(socket_path.partition("://")[2] or socket_path) if socket_path else None
        self._stream = tcp or self._framed
        try:
            self._socket = self._bind(host, port)
        except OSError as error:
            where = self._path or f"{host}:{port}"
            raise OptionError(f"cannot listen at {where}: {error.strerror or error}") from None
        self.address = self._name(tcp)
        self._unread: dict[socket.socket, bytearray] = {}
        self._stopped, self._stopper = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stopped, selectors.EVENT_READ)
        take = self._accept if self._stream else self._datagrams
        self._selector.register(self._socket, selectors.EVENT_READ, take)

    def run(
        self,
        *,
        count: int | None = None,
        for_s: float | None = None,
        idle_s: float | None = None,
        tick_s: float = 1.0,
        on_tick: Callable[[Tally], None] | None = None,
    ) -> Tally:
        """Receive until `stop`, or `count` values, `for_s` seconds, or `idle_s` seconds without any.

        Silence counts from the first value. `on_tick` is called every `tick_s` seconds.
        """
        started_s = heard_s = ticked_s = time.monotonic()
        while True:
            before = self.tally.values
            if not self._receive(_least(tick_s if on_tick else None, for_s, idle_s)):
                return self.tally
            now = time.monotonic()
            if self.tally.values != before or not before:
                heard_s = now
            if on_tick and now - ticked_s >= tick_s:
                ticked_s = now
                on_tick(self.tally)
            if count is not None and self.tally.values >= count:
                return self.tally
            if for_s is not None and now - started_s >= for_s:
                return self.tally
            if idle_s is not None and now - heard_s >= idle_s:
                return self.tally

    def stop(self) -> None:
        """End `run` after what has arrived by now; safe to call from a signal handler or a thread."""
        with suppress(OSError):
            self._stopper.send(b".")

    def close(self) -> None:
        """Let go of the socket, and of its file."""
        self._selector.close()
        for sock in (self._socket, self._stopped, self._stopper, *self._unread):
            sock.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- sockets ----------------------------------------------------------------------------------------

    def _bind(self, host: str, port: int) -> socket.socket:
        kind = socket.SOCK_STREAM if self._stream else socket.SOCK_DGRAM
        if self._path is not None:
            _remove_if_dead(str(self._path), kind)
            family, address = socket.AF_UNIX, cast("Any", str(self._path))
        else:
            family, *_, address = min(socket.getaddrinfo(host, port, type=kind))
        bound = socket.socket(family, kind)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
            if kind == socket.SOCK_STREAM:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            if kind == socket.SOCK_STREAM:
                bound.listen(128)
            bound.setblocking(False)
        except BaseException:
            bound.close()
            raise
        return bound

    def _name(self, tcp: bool) -> str:
        if self._path is not None:
            return f"{'unixstream' if self._framed else 'unixgram'}://{self._path}"
        host, port = self._socket.getsockname()[:2]
        return f"{'tcp' if tcp else 'udp'}://{f'[{host}]' if ':' in host else host}:{port}"

    def _receive(self, timeout_s: float | None) -> bool:
        """Take in what arrives within the timeout; False once stopped, when all that had arrived is in."""
        ready = [key for key, _ in self._selector.select(timeout_s)]
        stopped = any(key.fileobj is self._stopped for key in ready)
        if stopped:
            self._selector.unregister(self._stopped)
        drain_until_s = time.monotonic() + _DRAIN_S
        while ready:
            for key in ready:
                if key.data is not None:
                    key.data(key.fileobj)
            if not stopped or time.monotonic() > drain_until_s:
                break
            ready = [key for key, _ in self._selector.select(0)]
        return not stopped

    def _datagrams(self, bound: socket.socket) -> None:
        with suppress(BlockingIOError):
            for _ in range(1000):
                self.tally.add(bound.recv(_READ_BYTES))

    def _accept(self, bound: socket.socket) -> None:
        with suppress(BlockingIOError):
            connection, _ = bound.accept()
            connection.setblocking(False)
            self._unread[connection] = bytearray()
            self._selector.register(connection, selectors.EVENT_READ, self._read)

    def _read(self, connection: socket.socket) -> None:
        try:
            part = connection.recv(_READ_BYTES)
        except OSError:
            part = b""
        unread = self._unread[connection]
        unread += part
        for packet in self._packets(unread, at_end=not part):
            self.tally.add(packet)
        if not part or len(unread) > _LONGEST_PACKET:
            self._selector.unregister(connection)
            del self._unread[connection]
            connection.close()

    def _packets(self, unread: bytearray, *, at_end: bool) -> Iterator[bytes]:
        """Take what is whole off the front: packets after their length, or lines."""
        if not self._framed:
            whole = len(unread) if at_end else unread.rfind(b"\n") + 1
            yield bytes(unread[:whole])
            del unread[:whole]
            return
        while len(unread) >= 4:
            size = 4 + struct.unpack_from("<I", unread)[0]
            if len(unread) < size:
                return
            yield bytes(unread[4:size])
            del unread[:size]


def _least(*timeouts: float | None) -> float | None:
    return min((timeout for timeout in timeouts if timeout is not None), default=None)


def _remove_if_dead(path: str, kind: socket.SocketKind) -> None:
    """Remove a socket's file that its owner has left behind; one that is in use, or no socket, stays."""
    with socket.socket(socket.AF_UNIX, kind) as probe:
        try:
            probe.connect(path)
        except OSError as error:
            if error.errno == errno.ECONNREFUSED and Path(path).is_socket():
                Path(path).unlink()
