"""Deliver payloads to a file or a StatsD server, and account for every value in them."""

from __future__ import annotations

import errno
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Self

from logstatsd.delivery import transports
from logstatsd.delivery.connection import Connection
from logstatsd.delivery.ledger import Ledger, Payload
from logstatsd.delivery.pacing import Pace, Patience
from logstatsd.errors import UndeliveredError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable


class Sink:
    """A destination of payloads that counts values: due = sent + dropped + unconfirmed after `flush()`."""

    name = "stdout"
    payload_bytes = transports.UNIX_BYTES
    """The largest payload to hand to `send`; a single line may be longer."""

    def __init__(self, constant_tags: Iterable[str] = ()) -> None:
        self.constant_tags = tuple(constant_tags)
        """Tags of the environment (DATADOG_TAGS, DD_ENV, …) that belong on every metric, made safe."""
        self.ledger = Ledger()

    @property
    def sent(self) -> int:
        """Values that have reached the server, as far as that can be confirmed."""
        return self.ledger.sent

    @property
    def dropped(self) -> int:
        """Values that are known to be lost."""
        return self.ledger.dropped

    @property
    def unconfirmed(self) -> int:
        """Values that left here, and of which nobody can tell whether they arrived."""
        return self.ledger.unconfirmed

    def send(self, payload: bytes, values: int) -> None:
        """Send whole lines that hold that many values. Raises UndeliveredError when that stays impossible."""
        raise NotImplementedError

    def flush(self) -> None:
        """Return once the fate of everything sent is known, as far as it can be. Raises UndeliveredError."""

    def abandon(self) -> None:
        """Count what is in flight, without waiting for its fate: the run ends at once."""

    def refuse_unanswered(self) -> None:
        """Raise UndeliveredError where a connection could have told that all was read, and did not."""
        if self.ledger.unanswered:
            raise UndeliveredError(f"the server at {self.name} went away before it had read what it was sent")

    def close(self) -> None:
        """Close the connection."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FileSink(Sink):
    """Write payloads, which end in a newline, to a binary file."""

    def __init__(self, file: IO[bytes], constant_tags: Iterable[str] = ()) -> None:
        super().__init__(constant_tags)
        self._file = file

    def send(self, payload: bytes, values: int) -> None:
        self._file.write(payload)
        self.ledger.sent += values
        self._file.flush()  # at --speed, the next payload may be long in coming


class SocketSink(Sink):
    """Send to a server: paced, patient while it is away for less than `timeout_s`, and accounted for.

    `rate` is datagrams a second over UDP, as `pacing.Pace` takes it. Raises UnreachableError where nobody is
    there.
    """

    def __init__(
        self,
        name: str,
        dial: Callable[[], socket.socket],
        *,
        constant_tags: Iterable[str] = (),
        rate: float | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        super().__init__(constant_tags)
        self.name = name
        self._timeout_s = timeout_s
        self._connection = Connection(name, dial, timeout_s)
        self._pace = Pace(rate)
        self._pace.adapt(self._connection)
        self._broken_s: float | None = None
        self._sent_when_broken = 0
        self.payload_bytes = self._connection.transport.payload_bytes

    def send(self, payload: bytes, values: int) -> None:
        waiting = [Payload(payload, values)]
        give_up_s = None
        try:
            while waiting:
                try:
                    self._await_room(len(waiting[0].data))
                    self._connection.transport.send(waiting[0].data)
                except OSError as error:
                    give_up_s = give_up_s or time.monotonic() + self._timeout_s
                    self._recover(error, waiting, give_up_s)
                else:
                    self.ledger.depart(waiting.pop(0))
        except UndeliveredError:
            self.ledger.dropped += sum(item.values for item in waiting)
            raise
        except KeyboardInterrupt:  # the first may have left just then
            self.ledger.doubt(waiting[0].values if waiting else 0, unanswered=False)
            raise

    def flush(self) -> None:
        ours, all_of_it = Patience(self._timeout_s), Patience(self._timeout_s)
        while self.ledger:
            try:
                backlog_bytes = self._look()
            except OSError as error:
                for item in self._abandon(error):
                    self.send(*item)
                continue
            if not self.ledger:
                break
            if not all_of_it.lasts(backlog_bytes):
                raise self._stalled()
            if not ours.lasts(self.ledger.in_flight_bytes):
                if self._connection.transport.is_ours_alone:
                    raise self._stalled()
                # It takes what others send as well, and is never done: which part is ours, nobody can tell.
                self.ledger.settle(confirmed=False)
            ours.nap()

    def abandon(self) -> None:
        with suppress(OSError, ValueError):  # also where the socket is closed already
            self._look()
        self.ledger.settle(confirmed=False, unanswered=self._connection.transport.answers)

    def close(self) -> None:
        self._connection.close()

    def _await_room(self, next_bytes: int) -> None:
        """Wait until the server can take another payload of this size. Raises OSError where it is gone."""
        if not self._pace.is_look_due(next_bytes):
            return
        patience = Patience(self._timeout_s)
        while self._pace.is_too_full(backlog_bytes := self._look()):
            if not patience.lasts(backlog_bytes):
                raise self._stalled()
            patience.nap()

    def _look(self) -> int:
        """Settle what the server has taken, and return how many bytes wait for it. Raises OSError."""
        self._pace.looked()
        seen = self._connection.look()
        if seen is None:
            self.ledger.settle(confirmed=self._connection.transport.confirms)
            return 0
        if seen.replaced:
            # What the receiver before it had not read, nobody knows.
            self.ledger.settle(confirmed=False, unanswered=True)
        elif seen.lost_datagrams:
            # What the kernel says it lost is what came last.
            self.ledger.lose_newest(seen.lost_datagrams)
            self._pace.slow_down()
        self.ledger.arrive(seen.backlog_bytes)
        return seen.backlog_bytes

    def _recover(self, error: OSError, waiting: list[Payload], give_up_s: float) -> None:
        """Connect again after a failed send, and put what came back before what still waits."""
        if isinstance(error, transports.CutOffError):
            self.ledger.doubt(waiting.pop(0).values, unanswered=True)
        if error.errno == errno.EAGAIN:
            raise self._stalled()
        if error.errno == errno.EMSGSIZE:
            self.ledger.dropped += waiting.pop(0).values
            return
        waiting[:0] = self._abandon(error)
        self._refuse_endless_breaks()
        self._connection.reopen(give_up_s)
        self._pace.adapt(self._connection)

    def _abandon(self, error: OSError) -> list[Payload]:
        """Give up what a server that is gone had not read, and return the payload that came back."""
        sent_back = self._connection.sent_back(error)
        returned = [self.ledger.return_newest()] if sent_back and self.ledger else []
        self.ledger.settle(confirmed=False, unanswered=self._connection.transport.answers)
        return returned

    def _refuse_endless_breaks(self) -> None:
        """Raise UndeliveredError where one connection after the other breaks, and none confirms anything."""
        now, answers = time.monotonic(), self._connection.transport.answers
        if self._broken_s is None or self.ledger.sent != self._sent_when_broken or not answers:
            self._broken_s, self._sent_when_broken = now, self.ledger.sent
        elif now - self._broken_s > self._timeout_s:
            raise UndeliveredError(
                f"the server at {self.name} takes connections and closes them, and has read nothing"
                f" for {self._timeout_s:g} s"
            )

    def _stalled(self) -> UndeliveredError:
        self.ledger.settle(confirmed=False, unanswered=True)
        return UndeliveredError(
            f"the StatsD server at {self.name} has taken nothing for {self._timeout_s:g} s"
        )
