"""Receive StatsD traffic and sum it by name and tags, so that a person can see what arrives."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from logstatsd.delivery.framing import MAX_PACKET_BYTES, take_length_prefixed, take_lines
from logstatsd.delivery.tally import Tally
from logstatsd.delivery.transports import looked_up
from logstatsd.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from logstatsd.delivery.framing import Framing

_RECEIVE_BYTES = 4 << 20
_READ_BYTES = 1 << 16
_DRAIN_S = 1.0
_LONGEST_WAIT_S = 3_600.0
MAX_CONNECTIONS = 512
"""Connections at a time; further ones are turned away, and counted."""
_SCHEMES = ("unix", "unixgram", "unixstream")


class Listener:
    """A bound socket, of UDP, TCP or a Unix path, that feeds a Tally.

    `socket_path` may start with unixstream:// for the stream with length prefixes; otherwise it takes
    datagrams. Port 0 is any free one; `address` tells which. Raises OptionError where it cannot listen.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 8125, socket_path: str | None = None, *, tcp: bool = False
    ) -> None:
        self.tally = Tally()
        framed = socket_path is not None and socket_path.startswith("unixstream://")
        self._take_packets: Framing = take_length_prefixed if framed else take_lines
        self._path = _path_of(socket_path) if socket_path else None
        kind = socket.SOCK_STREAM if tcp or framed else socket.SOCK_DGRAM
        try:
            self._socket = _bind_path(self._path, kind) if self._path else _bind_port(host, port, kind)
        except OSError as error:
            where = self._path or f"{host}:{port}"
            raise OptionError(f"cannot listen at {where}: {error.strerror or error}") from None
        self._file = _identity(self._path) if self._path else None
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self.address = _name(self._socket, self._path)
        self._unread: dict[socket.socket, bytearray] = {}
        self._stopped, self._stopper = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stopped, selectors.EVENT_READ)
        take = self._accept if kind == socket.SOCK_STREAM else self._datagrams
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
        """Close the socket, and remove its file."""
        self._selector.close()
        for sock in (self._socket, self._stopped, self._stopper, *self._unread):
            sock.close()
        with suppress(OSError):
            os.close(self._spare)
        if self._path is not None and _identity(self._path) == self._file:
            self._path.unlink(missing_ok=True)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
        try:
            connection, _ = bound.accept()
        except BlockingIOError:
            return
        except OSError:
            self._refuse_without_room(bound)
            return
        if len(self._unread) >= MAX_CONNECTIONS:
            self.tally.refused += 1
            connection.close()
            return
        connection.setblocking(False)
        self._unread[connection] = bytearray()
        self._selector.register(connection, selectors.EVENT_READ, self._read)

    def _refuse_without_room(self, bound: socket.socket) -> None:
        """Turn a connection away where this process may open no more files: it would wait for ever."""
        os.close(self._spare)
        with suppress(OSError):
            bound.accept()[0].close()
            self.tally.refused += 1
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _read(self, connection: socket.socket) -> None:
        try:
            part = connection.recv(_READ_BYTES)
        except OSError:
            part = b""
        unread = self._unread[connection]
        unread += part
        for packet in self._take_packets(unread, not part):
            self.tally.add(packet)
        if not part or len(unread) > MAX_PACKET_BYTES:
            self._selector.unregister(connection)
            del self._unread[connection]
            connection.close()


def _least(*timeouts: float | None) -> float | None:
    return min((min(timeout, _LONGEST_WAIT_S) for timeout in timeouts if timeout is not None), default=None)


def _name(bound: socket.socket, path: Path | None) -> str:
    """Write the address of a socket as a URL."""
    stream = bound.type == socket.SOCK_STREAM
    if path is not None:
        return f"{'unixstream' if stream else 'unixgram'}://{path}"
    host, port = bound.getsockname()[:2]
    return f"{'tcp' if stream else 'udp'}://{f'[{host}]' if ':' in host else host}:{port}"


def _path_of(socket_path: str) -> Path:
    scheme, found, path = socket_path.partition("://")
    if found and (scheme not in _SCHEMES or not path):
        raise OptionError(f"--socket {socket_path}: give a path, alone or after unixgram:// or unixstream://")
    return Path(path if found else socket_path)


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another of its name; None where there is none."""
    with suppress(OSError):
        info = path.lstat()
        return info.st_dev, info.st_ino
    return None


def _bind_path(path: Path, kind: socket.SocketKind) -> socket.socket:
    _remove_if_dead(path, kind)
    return _bound(socket.AF_UNIX, kind, str(path))


def _bind_port(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    with looked_up():
        family, *_, address = min(socket.getaddrinfo(host, port, type=kind))
    return _bound(family, kind, cast("Any", address))


def _bound(
    family: socket.AddressFamily, kind: socket.SocketKind, address: str | tuple[str, int]
) -> socket.socket:
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


def _remove_if_dead(path: Path, kind: socket.SocketKind) -> None:
    """Remove a socket's file that its owner has left behind; all else stays: a link, a socket in use, …

    Raises OptionError where something is there that is no socket.
    """
    try:
        mode = path.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise OptionError(f"cannot listen at {path}: Address already in use: it is no socket, and stays")
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)  # one whose owner is busy would keep us waiting
        try:
            probe.connect(str(path))
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                path.unlink()
