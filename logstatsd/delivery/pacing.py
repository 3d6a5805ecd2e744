"""Decide when to send the next payload, when to look at the receiver's queue, and when to give up on it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from logstatsd.delivery import transports

if TYPE_CHECKING:
    from logstatsd.delivery.connection import Connection

QUEUE_BYTES = 64 << 10
"""How full a local UDP receiver's queue may be; Linux gives it 208 KiB by default."""
LOOK_BYTES = 16 << 10
"""How much may be sent between two looks at that queue; looking at every 100 KB lost up to 12 %."""
DATAGRAM_OVERHEAD_BYTES = 1024
"""About what the kernel charges a receiver's queue for a datagram beside its bytes."""
REMOTE_RATE = 2_000
"""Datagrams a second where the receiver cannot be seen: every server that was measured takes that many."""

_BURST_S = 0.005
_LONGEST_NAP_S = 3_600.0
_NAP_S = (0.0002, 0.002)


class Pace:
    """The pace over one connection after another: by the receiver's queue, by a rate, or none.

    `asked_rate` is datagrams a second over UDP: None for a pace that fits the connection, 0 for no pacing.
    """

    def __init__(self, asked_rate: float | None) -> None:
        self._asked_rate = asked_rate
        self._rate: float | None = None
        self._watched = False
        self._queue_bytes, self._look_bytes = QUEUE_BYTES, LOOK_BYTES
        self._unseen_bytes = 0
        self._next_send_s = 0.0

    def adapt(self, connection: Connection) -> None:
        """Fit a new connection: its transport, and what can be seen of its receiver."""
        udp = isinstance(connection.transport, transports.Udp)
        visible = connection.last_queue is not None
        self._watched = udp and visible
        self._rate = self._asked_rate if udp else None
        if udp and not visible and self._asked_rate is None:
            self._rate = REMOTE_RATE
        capacity_bytes = connection.transport.capacity_bytes
        self._queue_bytes = min(QUEUE_BYTES, capacity_bytes // 3) if capacity_bytes else QUEUE_BYTES
        self._look_bytes = min(LOOK_BYTES, self._queue_bytes // 4)

    def is_look_due(self, next_bytes: int) -> bool:
        """Wait for the rate's next turn, and tell whether to look at the queue before sending so much."""
        if self._rate:
            now = time.monotonic()
            self._next_send_s = max(self._next_send_s, now - _BURST_S) + 1 / self._rate
            while self._next_send_s > now + _BURST_S:
                time.sleep(min(self._next_send_s - now, _LONGEST_NAP_S))
                now = time.monotonic()
        self._unseen_bytes += next_bytes + DATAGRAM_OVERHEAD_BYTES
        return self._asked_rate != 0 and self._unseen_bytes >= self._look_bytes

    def looked(self) -> None:
        """Note that the queue was just looked at."""
        self._unseen_bytes = 0

    def is_too_full(self, backlog_bytes: int) -> bool:
        """Whether to let the receiver take some of its queue first."""
        return self._watched and backlog_bytes > self._queue_bytes

    def slow_down(self) -> None:
        """Fill the queue half as much, and look twice as often: datagrams were lost."""
        self._queue_bytes //= 2
        self._look_bytes //= 2


class Patience:
    """Patience with a queue, which may grow at one end while it is taken from at the other."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._last_bytes = 0
        self._fell_s = time.monotonic()
        self._nap_s, self._longest_nap_s = _NAP_S

    def lasts(self, queue_bytes: int) -> bool:
        """False when the queue has not shrunk from one look to the next for `timeout_s`."""
        now = time.monotonic()
        if queue_bytes < self._last_bytes:
            self._fell_s = now
        self._last_bytes = queue_bytes
        return now - self._fell_s <= self._timeout_s

    def nap(self) -> None:
        """Wait a little, and longer each time."""
        time.sleep(self._nap_s)
        self._nap_s = min(self._nap_s * 1.5, self._longest_nap_s)
