"""Transports: one connection to a StatsD server, over UDP, TCP or a Unix socket."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from logstatsd.delivery import socket_queues as queues
from logstatsd.delivery.socket_queues import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UDP_BYTES = 1432
"""The largest payload that fits a datagram on an Ethernet path, as the datadog client counts it."""
UNIX_BYTES = 8192

_PROBE_S = 0.2
_ANSWER_BYTES, _MOST_ANSWERS = 1 << 16, 16


class CutOffError(OSError):
    """A connection failed within a payload, of which the server may have read whole lines already."""


class Transport:
    """A connected socket. Every method raises OSError where the server is not, or no longer, there."""

    payload_bytes = UNIX_BYTES
    confirms = True
    """Whether what left here without an error has reached the server's host."""
    answers = True
    """Whether it can be seen here what the server's host, or the server, has taken."""
    is_ours_alone = True
    """Whether the queue that is seen holds nothing that others have sent."""
    bounces = False
    """Whether a refused send means that exactly the payload before it came back."""
    capacity_bytes: int | None = None
    """How much the receiver's queue holds, kernel's overhead included; None where that is not known."""

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        self._sock = sock
        # A blocking send with the kernel's own timeout needs one system call; Python's timeout needs two.
        sock.settimeout(None)
        # Zero would mean for ever.
        whole, rest = divmod(max(timeout_s, 0.001), 1)
        timeval = struct.pack("@ll", int(whole), int(rest * 1_000_000))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)

    def check(self) -> None:
        """Fail where nobody listens, as far as that can be known before anything is sent."""

    def send(self, payload: bytes) -> None:
        """Send one payload. Raises BlockingIOError where the server takes nothing for `timeout_s`."""
        self._sock.send(payload)

    def queue(self) -> Queue | None:
        """Read what waits for the server; None where nobody can know."""
        return queues.unsent(self._sock)

    def error(self) -> int:
        """Read the error number that an earlier send came back with, 0 for none; reading it clears it."""
        if self._sock.fileno() < 0:
            return errno.EBADF
        return self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


class Udp(Transport):
    """Datagrams that nobody acknowledges; a receiver on this host can be watched through procfs."""

    payload_bytes = UDP_BYTES
    confirms = False
    is_ours_alone = False

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        super().__init__(sock, timeout_s)
        self._watched = queues.UdpReceiver(sock)
        self.answers = self.bounces = bool(self._watched)
        self.capacity_bytes = self._watched.capacity_bytes if self._watched else None

    def check(self) -> None:
        if self._watched:
            return
        # An empty line is what every server skips; a closed port answers it with an ICMP message.
        self._sock.send(b"\n")
        poll = select.poll()
        poll.register(self._sock, select.POLLERR)
        poll.poll(_PROBE_S * 1000)
        if failure := self.error():
            raise OSError(failure, os.strerror(failure))

    def queue(self) -> Queue | None:
        if not self._watched:
            return None
        queue = self._watched.queue()
        if queue is None:
            raise ConnectionResetError(errno.ECONNRESET, "the receiver's socket is gone")
        return queue


class UnixDatagram(Transport):
    """Datagrams that wait in the receiver's queue, and block the sender when it is full."""

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        super().__init__(sock, timeout_s)
        self._path = os.fsdecode(sock.getpeername())
        self._file = self._identity()

    def queue(self) -> Queue | None:
        # What a receiver that ends had not read vanishes with it; only its file tells the two cases apart.
        queue = super().queue()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            probe.connect(self._path)
        if self._identity() != self._file:
            raise ConnectionResetError(errno.ECONNRESET, "the receiver's socket was replaced")
        return queue

    def _identity(self) -> tuple[int, int, int]:
        stat = Path(self._path).stat()
        return stat.st_dev, stat.st_ino, stat.st_ctime_ns


class Stream(Transport):
    """A connection that the server accepts, and may close again at any time."""

    def queue(self) -> Queue | None:
        queue = self._waiting()
        # Only now: what a server that is gone had not read, the kernel does not count any more.
        self._check_open()
        return queue

    def _waiting(self) -> Queue | None:
        return super().queue()

    def _check_open(self) -> None:
        """Fail where the server has closed the connection, whatever it has said before."""
        with suppress(BlockingIOError):
            for _ in range(_MOST_ANSWERS):
                if not self._sock.recv(_ANSWER_BYTES, socket.MSG_DONTWAIT):
                    raise ConnectionResetError(errno.ECONNRESET, "the server closed the connection")


class UnixStream(Stream):
    """A stream in which each payload follows its length: 32 bits, little-endian.

    https://docs.datadoghq.com/developers/dogstatsd/unix_socket
    """

    def send(self, payload: bytes) -> None:
        # Of a frame that is cut off, a server reads nothing.
        self._sock.sendall(struct.pack("<I", len(payload)) + payload)


class Tcp(Stream):
    """Lines of plain text over TCP."""

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        super().__init__(sock, timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._local = queues.is_local(sock)

    def send(self, payload: bytes) -> None:
        view = memoryview(payload)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except OSError as error:
                if len(view) == len(payload):
                    raise
                raise CutOffError(error.errno, error.strerror) from None

    def _waiting(self) -> Queue | None:
        queue = super()._waiting()
        if queue is None or not self._local:
            return queue
        # Acknowledged is not read: of a server on this host, the kernel tells what it has not read yet.
        return Queue(queue.backlog_bytes + queues.tcp_unread_bytes(self._sock))


_KINDS: dict[tuple[int, int], type[Transport]] = {
    (socket.AF_INET, socket.SOCK_DGRAM): Udp,
    (socket.AF_INET6, socket.SOCK_DGRAM): Udp,
    (socket.AF_UNIX, socket.SOCK_DGRAM): UnixDatagram,
    (socket.AF_UNIX, socket.SOCK_STREAM): UnixStream,
    (socket.AF_INET, socket.SOCK_STREAM): Tcp,
    (socket.AF_INET6, socket.SOCK_STREAM): Tcp,
}


@contextmanager
def looked_up() -> Iterator[None]:
    """Have a host that is no name at all (`a..b`) fail as one that is not found."""
    try:
        yield
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "it is not a host name") from None


def connect(dial: Callable[[], socket.socket], timeout_s: float) -> Transport:
    """Dial, and check as far as possible that somebody is there. Raises OSError."""
    with looked_up():
        sock = dial()
    try:
        transport = _KINDS[sock.family, sock.type](sock, timeout_s)
        transport.check()
    except BaseException:
        sock.close()
        raise
    return transport
