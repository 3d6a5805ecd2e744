"""Count what became of every value that was handed to a sink; no socket is touched here."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class Payload(NamedTuple):
    """Whole lines to send at once, and how many values they hold."""

    data: bytes
    values: int


class Ledger:
    """Payloads in flight, and the values of all others: sent, dropped or unconfirmed.

    In flight is what left here and may still wait in the server's queue, oldest first.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.dropped = 0
        self.unconfirmed = 0
        self.unanswered = 0
        """Of the unconfirmed, those that a connection could have confirmed, and did not."""
        self.in_flight_bytes = 0
        self._in_flight: deque[Payload] = deque()

    def __bool__(self) -> bool:
        """Whether anything is in flight."""
        return bool(self._in_flight)

    def depart(self, payload: Payload) -> None:
        """Put a payload in flight."""
        self._in_flight.append(payload)
        self.in_flight_bytes += len(payload.data)

    def arrive(self, backlog_bytes: int) -> None:
        """Count as sent the oldest payloads: those that a queue of so many bytes cannot hold any more."""
        while self._in_flight:
            oldest = self._in_flight[0]
            if self.in_flight_bytes - len(oldest.data) < backlog_bytes:
                break
            self._in_flight.popleft()
            self.in_flight_bytes -= len(oldest.data)
            self.sent += oldest.values

    def return_newest(self) -> Payload:
        """Take the newest payload out of flight: it came back."""
        payload = self._in_flight.pop()
        self.in_flight_bytes -= len(payload.data)
        return payload

    def lose_newest(self, datagrams: int) -> None:
        """Count so many of the newest payloads as dropped."""
        for _ in range(min(datagrams, len(self._in_flight))):
            self.dropped += self.return_newest().values

    def settle(self, *, confirmed: bool, unanswered: bool = False) -> None:
        """Count all that is in flight as sent, or as unconfirmed; and that as `unanswered` where it is so."""
        values = sum(payload.values for payload in self._in_flight)
        self._in_flight.clear()
        self.in_flight_bytes = 0
        if confirmed:
            self.sent += values
        else:
            self.doubt(values, unanswered=unanswered)

    def doubt(self, values: int, *, unanswered: bool) -> None:
        """Count values as unconfirmed."""
        self.unconfirmed += values
        self.unanswered += values if unanswered else 0
