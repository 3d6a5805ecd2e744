"""Open the sink that the options or the DD_* variables name, as the datadog client would."""

from __future__ import annotations

import socket
from typing import IO, TYPE_CHECKING

from logstatsd.delivery.environment import refuse_switched_off, refuse_unusable_places
from logstatsd.delivery.naming import safe_constant_tag
from logstatsd.delivery.sink import FileSink, SocketSink

if TYPE_CHECKING:
    from datadog.dogstatsd.base import DogStatsd

LONGEST_TIMEOUT_S = 7 * 86_400.0
"""Longer ones mean the same, and sockets refuse a number of seconds without measure."""
_ENTITY_TAG = "dd.internal.entity_id:"


def open_sink(
    host: str | None = None,
    port: int | None = None,
    socket_path: str | None = None,
    *,
    tcp: bool = False,
    rate: float | None = None,
    timeout_s: float = 10.0,
) -> SocketSink:
    """Connect to the server that is named, or else to the one that the DD_* variables name.

    The datadog client reads those. `socket_path` may start with unixgram:// or unixstream://; otherwise it
    finds out which it is. With `tcp`, host and port are a plain StatsD server's. Raises UnreachableError
    before anything is sent.
    """
    refuse_switched_off()
    refuse_unusable_places(host, port, socket_path)
    timeout_s = min(timeout_s, LONGEST_TIMEOUT_S)
    client = _client(host, port, socket_path)
    if tcp:
        address = (client.host or "localhost", client.port or 8125)

        def dial() -> socket.socket:
            return socket.create_connection(address, timeout=timeout_s)
    else:

        def dial() -> socket.socket:
            client.close_socket()
            return client.get_socket()

    if client.socket_path is not None and not tcp:
        name = client.socket_path
    else:
        host = f"[{client.host}]" if ":" in (client.host or "") else client.host
        name = f"{'tcp' if tcp else 'udp'}://{host}:{client.port}"
    return SocketSink(name, dial, constant_tags=_constant_tags(client), rate=rate, timeout_s=timeout_s)


def open_file_sink(file: IO[bytes]) -> FileSink:
    """Open a sink that writes what a server would be sent, with the environment's tags, to a binary file."""
    return FileSink(file, _constant_tags(_client(None, None, None)))


def _client(host: str | None, port: int | None, socket_path: str | None) -> DogStatsd:
    # Slow to import (it brings an HTTP client), so only where something is sent.
    from datadog.dogstatsd.base import DogStatsd  # noqa: PLC0415

    return DogStatsd(
        host=host,
        port=port,
        socket_path=socket_path,
        disable_telemetry=True,
        # A container or entity would be this machine's, not that of the app which wrote the log.
        origin_detection_enabled=False,
    )


def _constant_tags(client: DogStatsd) -> list[str]:
    tags = [tag for tag in client.constant_tags if not tag.startswith(_ENTITY_TAG)]
    return [safe_constant_tag(tag) for tag in tags]
