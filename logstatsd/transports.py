"""One connection to a StatsD server: hand it a payload, and see how much of that it has not taken yet."""

from __future__ import annotations

import errno
import os
import re
import select
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

UDP_BYTES = 1432
"""The largest payload that fits a datagram on an Ethernet path, as the datadog client counts it."""
UNIX_BYTES = 8192

PROC_NET = Path("/proc/net")
_PROBE_S = 0.2
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST = 4, 20, 1
_RQUEUE_AT = 16 + 4 + 48 + 4
_LINUX = sys.platform == "linux"


class Queue(NamedTuple):
    """What the kernel tells of a receiver: how much waits for it, what it has lost, and who it is."""

    backlog_bytes: int
    """Never less than the payload bytes that wait: the kernel counts its own overhead too."""
    dropped_datagrams: int = 0
    receiver: object = None
    """Changes when another process takes the receiver's place."""


class CutOffError(OSError):
    """A connection failed within a payload, of which the server may have read whole lines already."""


class Transport:
    """A connected socket. Every method raises OSError where the server is not, or no longer, there."""

    payload_bytes = UNIX_BYTES
    confirms = True
    """Whether what left here without an error has reached the server's host."""
    bounces = False
    """Whether a refused send means that exactly the payload before it came back."""

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
        """What waits for the server, or None where nobody can know."""
        return _unsent(self._sock)

    def error(self) -> int:
        """The error number that an earlier send came back with, 0 for none; reading it clears it."""
        if self._sock.fileno() < 0:
            return errno.EBADF
        return self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def close(self) -> None:
        """Let go of the socket."""
        self._sock.close()


class Udp(Transport):
    """Datagrams that nobody acknowledges; a receiver on this host can be watched through procfs."""

    payload_bytes = UDP_BYTES
    confirms = False

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        super().__init__(sock, timeout_s)
        self._row = _row_pattern(sock.getpeername()[1])
        self._tables = [PROC_NET / name for name in ("udp", "udp6")] if _is_local(sock) else []
        self._addresses = _procfs_addresses(sock.getpeername()[0])
        self._tables = [table for table in self._tables if self._rows(table)]
        self.bounces = bool(self._tables)

    def check(self) -> None:
        if self._tables:
            return
        # An empty line is what every server skips; a closed port answers it with an ICMP message.
        self._sock.send(b"\n")
        poll = select.poll()
        poll.register(self._sock, select.POLLERR)
        poll.poll(_PROBE_S * 1000)
        if failure := self.error():
            raise OSError(failure, os.strerror(failure))

    def queue(self) -> Queue | None:
        if not self._tables:
            return None
        rows = [row for table in self._tables for row in self._rows(table)]
        if not rows:
            raise ConnectionResetError(errno.ECONNRESET, "the receiver's socket is gone")
        return Queue(
            sum(int(row[2], 16) for row in rows),
            sum(int(row[4]) for row in rows),
            tuple(sorted(row[3] for row in rows)),
        )

    def _rows(self, table: Path) -> list[tuple[bytes, ...]]:
        """The receiving sockets: those bound to our destination, else those bound to every address."""
        try:
            rows = self._row.findall(table.read_bytes())
        except OSError:
            return []
        rows = [row for row in rows if int(row[1], 16) == 0]
        exact = [row for row in rows if row[0] in self._addresses]
        return exact or [row for row in rows if not row[0].strip(b"0")]


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


class _Stream(Transport):
    def queue(self) -> Queue | None:
        with suppress(BlockingIOError):
            if not self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                raise ConnectionResetError(errno.ECONNRESET, "the server closed the connection")
        return super().queue()


class UnixStream(_Stream):
    """A stream in which each payload follows its length: 32 bits, little-endian.

    https://docs.datadoghq.com/developers/dogstatsd/unix_socket
    """

    def send(self, payload: bytes) -> None:
        # Of a frame that is cut off, a server reads nothing.
        self._sock.sendall(struct.pack("<I", len(payload)) + payload)


class Tcp(_Stream):
    """Lines of plain text over TCP."""

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        super().__init__(sock, timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._local = _LINUX and _is_local(sock)

    def send(self, payload: bytes) -> None:
        view = memoryview(payload)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except OSError as error:
                if len(view) == len(payload):
                    raise
                raise CutOffError(error.errno, error.strerror) from None

    def queue(self) -> Queue | None:
        queue = super().queue()
        if queue is None or not self._local:
            return queue
        # Acknowledged is not read: of a server on this host, the kernel tells what it has not read yet.
        return Queue(queue.backlog_bytes + _unread_by_peer(self._sock))


_KINDS: dict[tuple[int, int], type[Transport]] = {
    (socket.AF_INET, socket.SOCK_DGRAM): Udp,
    (socket.AF_INET6, socket.SOCK_DGRAM): Udp,
    (socket.AF_UNIX, socket.SOCK_DGRAM): UnixDatagram,
    (socket.AF_UNIX, socket.SOCK_STREAM): UnixStream,
    (socket.AF_INET, socket.SOCK_STREAM): Tcp,
    (socket.AF_INET6, socket.SOCK_STREAM): Tcp,
}


def connect(dial: Callable[[], socket.socket], timeout_s: float) -> Transport:
    """Dial, and check as far as possible that somebody is there. Raises OSError."""
    sock = dial()
    try:
        transport = _KINDS[sock.family, sock.type](sock, timeout_s)
        transport.check()
    except BaseException:
        sock.close()
        raise
    return transport


def _unsent(sock: socket.socket) -> Queue | None:
    """What this end of a connection holds: Unix sockets until it is read, TCP until it is acknowledged."""
    if not _LINUX:
        return None
    import fcntl  # noqa: PLC0415
    import termios  # noqa: PLC0415

    answer = fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4))
    return Queue(struct.unpack("i", answer)[0])


def _unread_by_peer(sock: socket.socket) -> int:
    """Bytes in the receive queue of a local TCP peer, as the kernel's sock_diag tells; 0 where it does not.

    https://man7.org/linux/man-pages/man7/sock_diag.7.html; /proc/net/tcp has the same, 1,000 times slower.
    """
    addresses = [socket.inet_pton(sock.family, end[0]) for end in (sock.getpeername(), sock.getsockname())]
    ports = struct.pack("!HH", sock.getpeername()[1], sock.getsockname()[1])
    peer = ports + b"".join(address.ljust(16, b"\0") for address in addresses) + bytes(4) + b"\xff" * 8
    request = struct.pack("=BBBBI", sock.family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + peer
    header = struct.pack("=IHHII", 16 + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0)
    with suppress(OSError), socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as kernel:
        kernel.sendto(header + request, (0, 0))
        answer = kernel.recv(4096)
        if struct.unpack_from("=H", answer, 4)[0] == _SOCK_DIAG_BY_FAMILY:
            unread: int = struct.unpack_from("=I", answer, _RQUEUE_AT)[0]
            return unread
    return 0


def _is_local(sock: socket.socket) -> bool:
    """Whether the peer's address is one of this host's: then the kernel gave our end the same one."""
    peer, own = sock.getpeername()[0], sock.getsockname()[0]
    return bool(peer in (own, "::1") or peer.startswith("127."))


def _row_pattern(port: int) -> re.Pattern[bytes]:
    """A row of /proc/net/udp, tcp, …: local address, peer's port, bytes to read, inode, drops (of UDP)."""
    fields = (
        rb"^ *\d+: ([0-9A-F]+):%04X [0-9A-F]+:([0-9A-F]{4}) .. [0-9A-F]+:([0-9A-F]+) \S+ +\S+ +\d+ +\d+ (\d+)"
    )
    return re.compile(fields % port + rb".* (\d+) *$", re.MULTILINE)


def _procfs_addresses(address: str) -> set[bytes]:
    """An address as procfs writes it, in words of the host's byte order; IPv4 also in its IPv6 form."""
    try:
        packed = {socket.inet_aton(address)}
        packed.add(bytes(10) + b"\xff\xff" + min(packed))
    except OSError:
        packed = {socket.inet_pton(socket.AF_INET6, address.partition("%")[0])}
    return {b"".join(b"%08X" % word for word in _words(raw)) for raw in packed}


def _words(raw: bytes) -> tuple[int, ...]:
    return struct.unpack(f"={len(raw) // 4}I", raw)
