"""Stream servers that take connections and fail in their own ways, over TCP and a Unix socket."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Manner = Callable[[socket.socket, threading.Event], None]


def close_at_once(connection: socket.socket, _over: threading.Event) -> None:
    connection.close()


def close_after_some(connection: socket.socket, _over: threading.Event) -> None:
    connection.recv(20_000, socket.MSG_WAITALL)
    connection.close()


def shut_and_read_no_more(connection: socket.socket, _over: threading.Event) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def half_close(connection: socket.socket, over: threading.Event) -> None:
    connection.shutdown(socket.SHUT_WR)
    over.wait()


def read_a_little_and_stop(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(100)
    over.wait()


def never_read(_connection: socket.socket, over: threading.Event) -> None:
    over.wait()


def reset(connection: socket.socket, _over: threading.Event) -> None:
    connection.recv(100)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def refuse_in_words(connection: socket.socket, _over: threading.Event) -> None:
    """Answer as a proxy without a backend does."""
    connection.recv(100)
    connection.sendall(b"HTTP/1.0 503 Service Unavailable\r\n\r\nno backend\r\n" * 10)
    connection.shutdown(socket.SHUT_WR)


MANNERS: list[Manner] = [
    close_at_once, close_after_some, shut_and_read_no_more, half_close, read_a_little_and_stop,
    never_read, reset, refuse_in_words,
]  # fmt: skip


@contextmanager
def serving(kind: str, manner: Manner | None, directory: Path) -> Iterator[list[str]]:
    """Serve every connection so; without a manner, none is taken. Gives the options to reach it."""
    unix = kind == "unixstream"
    listener = socket.socket(socket.AF_UNIX if unix else socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(str(directory / "stream.sock") if unix else ("127.0.0.1", 0))
    listener.listen()
    over, taken = threading.Event(), list[socket.socket]()

    def serve(connection: socket.socket) -> None:
        with suppress(OSError):
            if manner:
                manner(connection, over)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                taken.append(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    if manner:
        threading.Thread(target=accept, daemon=True).start()
    name = listener.getsockname()
    try:
        yield ["--socket", f"unixstream://{name}"] if unix else ["--tcp", "--port", str(name[1])]
    finally:
        over.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        for each in (listener, *taken):
            each.close()
