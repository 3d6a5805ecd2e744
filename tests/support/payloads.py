"""A sink that keeps what it is given."""

from __future__ import annotations

from logstatsd.delivery.sink import Sink


class Payloads(Sink):
    """A sink that keeps each payload and how many values it was said to hold."""

    payload_bytes = 1432

    def __init__(self, *constant_tags: str) -> None:
        super().__init__(constant_tags)
        self.payloads: list[bytes] = []
        self.counts: list[int] = []

    def send(self, payload: bytes, values: int) -> None:
        self.payloads.append(payload)
        self.counts.append(values)
        self.ledger.sent += values

    @property
    def lines(self) -> list[str]:
        return b"".join(self.payloads).decode().splitlines()
