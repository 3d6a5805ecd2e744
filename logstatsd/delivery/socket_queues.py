"""Ask Linux how full a receiver's queue is; of another host, or on another system, nobody can tell."""

from __future__ import annotations

import re
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

if sys.platform == "linux":
    import fcntl
    import termios

PROC_NET = Path("/proc/net")

_LINUX = sys.platform == "linux"
# linux/netlink.h, sock_diag.h, inet_diag.h
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST = 4, 20, 1
_INET_DIAG_SKMEMINFO = 7
_RQUEUE_AT, _INODE_AT, _ATTRIBUTES_AT = 72, 84, 88
_RCVBUF, _DROPS = 1, 8
_READINGS = 3


class Queue(NamedTuple):
    """A receiver's queue, as the kernel has it: how much waits in it, what was lost, and whose it is."""

    backlog_bytes: int
    """Never less than the payload bytes that wait: the kernel counts its own overhead too."""
    dropped_datagrams: int = 0
    receiver: object = None
    """Changes when another process takes the receiver's place."""


def is_local(sock: socket.socket) -> bool:
    """Whether the peer's address is one of this host's: then the kernel gave our end the same one."""
    peer, own = sock.getpeername()[0], sock.getsockname()[0]
    return _LINUX and bool(peer in (own, "::1") or peer.startswith("127."))


def unsent(sock: socket.socket) -> Queue | None:
    """Read how much this end holds: of a Unix socket until it is read, of TCP until it is acknowledged."""
    if not _LINUX:
        return None
    answer = fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4))
    return Queue(struct.unpack("i", answer)[0])


# --- UDP ------------------------------------------------------------------------------------------------


class UdpReceiver:
    """The socket of this host that receives what a connected UDP socket sends; false where none is seen.

    sock_diag tells of exactly that socket, in microseconds. Where it is not to be had, procfs lists all; and
    since its rows shift while it is read, a row that is missing there does not prove that a socket is gone.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._family, self._ends = sock.family, (sock.getsockname(), sock.getpeername())
        address, port = sock.getpeername()[:2]
        self._row = _row_pattern(port)
        self._addresses = _procfs_addresses(address)
        self._seen = is_local(sock) and self.queue() is not None

    def __bool__(self) -> bool:
        return self._seen

    @property
    def capacity_bytes(self) -> int | None:
        """The bytes that may wait for it, the kernel's overhead included; None where that is not known."""
        memory = _memory(self._diagnose())
        return memory[_RCVBUF] if memory else None

    def queue(self) -> Queue | None:
        """Read what waits for it; None when it is gone."""
        answer = self._diagnose()
        if memory := _memory(answer):
            backlog, inode = (struct.unpack_from("=I", answer, at)[0] for at in (_RQUEUE_AT, _INODE_AT))
            return Queue(backlog, memory[_DROPS], receiver=[inode])
        for _ in range(_READINGS):
            if rows := [row for name in ("udp", "udp6") for row in self._rows(PROC_NET / name)]:
                backlog, dropped = sum(int(row[2], 16) for row in rows), sum(int(row[4]) for row in rows)
                return Queue(backlog, dropped, receiver=sorted(int(row[3]) for row in rows))
        return None

    def _diagnose(self) -> bytes:
        # Of UDP, sock_diag takes source and destination the other way round.
        return _diagnose(self._family, socket.IPPROTO_UDP, *self._ends)

    def _rows(self, table: Path) -> list[tuple[bytes, ...]]:
        """Find the sockets bound to our destination, else those bound to every address."""
        try:
            rows = self._row.findall(table.read_bytes())
        except OSError:
            return []
        rows = [row for row in rows if int(row[1], 16) == 0]
        exact = [row for row in rows if row[0] in self._addresses]
        return exact or [row for row in rows if not row[0].strip(b"0")]


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


# --- one socket, by sock_diag ---------------------------------------------------------------------------
# https://man7.org/linux/man-pages/man7/sock_diag.7.html


def tcp_unread_bytes(sock: socket.socket) -> int:
    """Bytes that the local peer of a TCP socket has not read; 0 where that is not known.

    /proc/net/tcp has the same, and takes milliseconds.
    """
    answer = _diagnose(sock.family, socket.IPPROTO_TCP, sock.getpeername(), sock.getsockname())
    unread: int = struct.unpack_from("=I", answer, _RQUEUE_AT)[0] if answer else 0
    return unread


def _memory(answer: bytes) -> tuple[int, ...]:
    """A socket's SK_MEMINFO from its message: bytes received, receive buffer, …, drops."""
    at = _ATTRIBUTES_AT
    while at + 4 <= len(answer):
        size, kind = struct.unpack_from("=HH", answer, at)
        if kind == _INET_DIAG_SKMEMINFO and size >= 4 + 4 * (_DROPS + 1):
            return struct.unpack_from(f"={_DROPS + 1}I", answer, at + 4)
        at += max(size + 3 & ~3, 4)
    return ()


def _diagnose(family: int, protocol: int, source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    """Get the kernel's message about one socket, nothing where it has none."""
    with suppress(OSError), socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as kernel:
        ends = (source[:2], destination[:2])
        ports = struct.pack("!HH", *(port for _, port in ends))
        addresses = b"".join(socket.inet_pton(family, host).ljust(16, b"\0") for host, _ in ends)
        identity = ports + addresses + bytes(4) + b"\xff" * 8
        wanted = 1 << (_INET_DIAG_SKMEMINFO - 1)
        request = struct.pack("=BBBBI", family, protocol, wanted, 0, 0xFFFFFFFF) + identity
        header = struct.pack("=IHHII", 16 + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0)
        kernel.sendto(header + request, (0, 0))
        answer = kernel.recv(4096)
        if struct.unpack_from("=H", answer, 4)[0] == _SOCK_DIAG_BY_FAMILY:
            return answer
    return b""
