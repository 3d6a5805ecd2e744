"""Refuse DD_* variables by which the datadog client would silently send nothing, or to somewhere else."""

from __future__ import annotations

import os
import re

from logstatsd.errors import UnreachableError

_URL = re.compile(r"udp://(\[[^\]]+\]|[^:/@\[\]]+)(:(?P<port>\d+))?/?|unix(gram|stream)?://.+")
_SWITCHED_OFF = {"True", "true", "yes", "1"}


def refuse_switched_off() -> None:
    """Raise UnreachableError where the client is told to send nothing."""
    if os.environ.get("DD_DOGSTATSD_DISABLE") in _SWITCHED_OFF:
        raise UnreachableError(
            "DD_DOGSTATSD_DISABLE is set, so nothing may be sent: unset it, or use --dry-run"
        )


def refuse_unusable_places(host: str | None, port: int | None, socket_path: str | None) -> None:
    """Raise UnreachableError where a variable that these options leave in force names no place."""
    url = os.environ.get("DD_DOGSTATSD_URL") if (host, port, socket_path) == (None, None, None) else None
    if url:
        match = _URL.fullmatch(url)
        if not match:
            known = "udp://HOST:PORT, or unix://, unixgram:// or unixstream:// with a path"
            raise UnreachableError(
                f"DD_DOGSTATSD_URL {url!r} is nothing that the datadog client takes: {known}"
            )
        if match["port"] and not _is_port(match["port"]):
            raise UnreachableError(
                f"DD_DOGSTATSD_URL {url!r}: {match['port']} is not a port; give one from 1 to 65535"
            )
        return
    given = os.environ.get("DD_DOGSTATSD_PORT")
    if given and port is None and socket_path is None and not _is_port(given):
        raise UnreachableError(f"DD_DOGSTATSD_PORT {given!r} is not a port; give one from 1 to 65535")


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10 and 0 < int(text) < 1 << 16
