"""Cut what a stream has brought into packets: plain lines, or packets after their length."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Framing = Callable[[bytearray, bool], Iterator[bytes]]

MAX_PACKET_BYTES = 1 << 20
"""A sender of anything longer is cut off."""


def take_lines(unread: bytearray, at_end: bool) -> Iterator[bytes]:
    """Take the whole lines off the front, and at the end of the stream the rest too."""
    whole = len(unread) if at_end else unread.rfind(b"\n") + 1
    yield bytes(unread[:whole])
    del unread[:whole]


def take_length_prefixed(unread: bytearray, _at_end: bool) -> Iterator[bytes]:
    """Take the whole packets off the front, each after its length: 32 bits, little-endian."""
    while len(unread) >= 4:
        end = 4 + struct.unpack_from("<I", unread)[0]
        if len(unread) < end:
            return
        yield bytes(unread[4:end])
        del unread[:end]
