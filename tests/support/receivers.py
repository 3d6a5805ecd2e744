"""A StatsD server that only counts: every value of every series, over UDP, TCP and both kinds of Unix socket.

    with receiving("udp") as inbox:
        send_metrics(inbox.address)
    assert inbox.timings[series("users.get", http_method="GET")] == Counter({12.5: 1})

It parses DogStatsD lines by itself, knowing nothing of the code under test, and is complete once the `with`
block is left: whatever was sent inside has been counted then.
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from collections import Counter, defaultdict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal, NamedTuple

from servers import PATIENCE_S, Address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Transport = Literal["udp", "tcp", "unixgram", "unixstream"]

BIG = 64 << 20
SO_RCVBUFFORCE = 33


class Series(NamedTuple):
    """A metric's name, type and tags."""

    name: str
    type: str
    tags: frozenset[str]


class Sample(NamedTuple):
    """One line of DogStatsD, read: its series, its values (several where packed) and its sample rate."""

    series: Series
    values: tuple[float, ...]
    rate: float


def series(name: str, type: str = "ms", **tags: object) -> Series:  # noqa: A002
    """The series of a name and its tags, as a test would write it down."""
    return Series(name, type, frozenset(f"{key}:{value}" for key, value in tags.items()))


def parse(line: str) -> Sample:
    """Read `name:value[:value…]|type[|@rate][|#tag,tag…]`; anything else is a ValueError."""
    name, colon, rest = line.partition(":")
    values, *fields = rest.split("|")
    if not name or not colon or not fields:
        raise ValueError(f"not a StatsD line: {line!r}")
    rate, tags = 1.0, frozenset[str]()
    for field in fields[1:]:
        if field.startswith("@"):
            rate = float(field[1:])
        elif field.startswith("#"):
            tags = frozenset(field[1:].split(","))
        else:
            raise ValueError(f"field {field!r} of unknown kind in {line!r}")
    return Sample(Series(name, fields[0], tags), tuple(map(float, values.split(":"))), rate)


class Inbox:
    """Values that have been received so far; read them once the `with` block is left."""

    def __init__(self, address: Address | str) -> None:
        self.address = address
        self.datagrams: list[bytes] = []
        """Each datagram as it came; a stream's parts are whatever was framed or read at once."""

    @property
    def lines(self) -> list[str]:
        """Every line, in the order of arrival; of one connection, where there are several."""
        return [line for packet in self.datagrams for line in packet.decode().split("\n") if line]

    @property
    def timings(self) -> dict[Series, Counter[float]]:
        """Count how often each value of each series came, whatever its type."""
        seen: dict[Series, Counter[float]] = defaultdict(Counter)
        for sample in map(parse, self.lines):
            seen[sample.series].update(sample.values)
        return dict(seen)

    @property
    def counts(self) -> dict[Series, int]:
        """Count the values of each series."""
        return {series: values.total() for series, values in self.timings.items()}


@contextmanager
def receiving(transport: Transport = "udp", *, directory: Path | None = None) -> Iterator[Inbox]:
    """Listen in a thread; Unix sockets are made in `directory`."""
    listener, address = listen(transport, directory)
    wake, woken = socket.socketpair()
    inbox = Inbox(address)
    loop = Loop(transport, listener, woken, inbox)
    thread = threading.Thread(target=loop.run, name=f"receiver-{transport}", daemon=True)
    with wake, woken, listener:
        thread.start()
        try:
            yield inbox
        finally:
            wake.send(b".")
            thread.join(PATIENCE_S)
        if thread.is_alive():
            raise TimeoutError("a sender has not closed its connection to the receiver")
    if loop.error is not None:
        raise loop.error


def listen(transport: Transport, directory: Path | None) -> tuple[socket.socket, Address | str]:
    """A listening socket with a buffer that is as big as the system allows, and its address."""
    family = socket.AF_UNIX if transport.startswith("unix") else socket.AF_INET
    stream = transport in ("tcp", "unixstream")
    listener = socket.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BIG)
    # Only root may go beyond the system's limit.
    with suppress(PermissionError):
        listener.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BIG)
    if family == socket.AF_INET:
        listener.bind(("127.0.0.1", 0))
    else:
        if directory is None:
            raise ValueError("a Unix socket needs a directory")
        listener.bind(str(directory / f"{transport}.sock"))
    if stream:
        listener.listen(128)
    listener.setblocking(False)
    name = listener.getsockname()
    return listener, Address(*name) if family == socket.AF_INET else name


class Loop:
    """The receiver's thread: read whatever is there; when woken, drain what is left and end."""

    def __init__(
        self, transport: Transport, listener: socket.socket, woken: socket.socket, inbox: Inbox
    ) -> None:
        self.error: BaseException | None = None
        self._framed = transport == "unixstream"
        self._stream = listener.type == socket.SOCK_STREAM
        self._listener = listener
        self._inbox = inbox
        self._unread: dict[socket.socket, bytearray] = {}
        self._ending = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(woken, selectors.EVENT_READ, self._end)
        take = self._accept if self._stream else self._datagrams
        self._selector.register(listener, selectors.EVENT_READ, take)

    def run(self) -> None:
        """Serve until woken and, of streams, until every connection is at its end."""
        try:
            while not self._ending or self._unread:
                for key, _ in self._selector.select():
                    key.data(key.fileobj)
        except BaseException as error:
            self.error = error
        finally:
            self._selector.close()
            for connection in self._unread:
                connection.close()

    def _end(self, woken: socket.socket) -> None:
        self._ending = True
        self._selector.unregister(woken)
        (self._accept if self._stream else self._datagrams)(self._listener)
        self._selector.unregister(self._listener)

    def _datagrams(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError):
            while True:
                self._inbox.datagrams.append(listener.recv(65536))

    def _accept(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError):
            while True:
                connection, _ = listener.accept()
                connection.setblocking(False)
                self._unread[connection] = bytearray()
                self._selector.register(connection, selectors.EVENT_READ, self._read)

    def _read(self, connection: socket.socket) -> None:
        part = connection.recv(1 << 20)
        unread = self._unread[connection]
        unread += part
        self._inbox.datagrams.extend(self._packets(unread, at_end=not part))
        if not part:
            self._selector.unregister(connection)
            del self._unread[connection]
            connection.close()
            if unread:
                raise ValueError(f"a connection ended within a packet: {bytes(unread[:80])!r}")

    def _packets(self, unread: bytearray, *, at_end: bool) -> Iterator[bytes]:
        """Take whole packets off the front: of Datadog's length-prefixed stream, or whole lines."""
        if not self._framed:
            whole = len(unread) if at_end else unread.rfind(b"\n") + 1
            if whole:
                yield bytes(unread[:whole])
                del unread[:whole]
            return
        while len(unread) >= 4:
            size = 4 + struct.unpack_from("<I", unread)[0]
            if len(unread) < size:
                return
            yield bytes(unread[4:size])
            del unread[:size]
