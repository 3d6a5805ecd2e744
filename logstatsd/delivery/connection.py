"""Connect to a StatsD server, connect again while it is away, and see what its queue holds."""

from __future__ import annotations

import errno
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.delivery import transports
from logstatsd.errors import UndeliveredError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from logstatsd.delivery.socket_queues import Queue
    from logstatsd.delivery.transports import Transport

_BACKOFF_S = (0.02, 1.0)


class Sight(NamedTuple):
    """One look at the receiver's queue, compared with the look before."""

    backlog_bytes: int
    lost_datagrams: int
    replaced: bool
    """Whether somebody else listens there now."""


class Connection:
    """The connection to one server, made anew where it breaks.

    Raises UnreachableError where nobody is there at first.
    """

    def __init__(self, name: str, dial: Callable[[], socket.socket], timeout_s: float) -> None:
        self._name, self._dial, self._timeout_s = name, dial, timeout_s
        try:
            self._open()
        except OSError as error:
            raise UnreachableError(_why_unreachable(name, error)) from None

    def _open(self) -> None:
        transport = transports.connect(self._dial, self._timeout_s)
        self.last_queue: Queue | None = None
        try:
            self.last_queue = transport.queue()
        except OSError:
            # A connection that was taken and closed at once is there: what fails is the delivery.
            if not isinstance(transport, transports.Stream):
                transport.close()
                raise
        self.transport: Transport = transport

    def look(self) -> Sight | None:
        """See what waits for the server; None where nobody can know. Raises OSError where it is gone."""
        queue = self.transport.queue()
        if queue is None:
            return None
        last, self.last_queue = self.last_queue or queue, queue
        replaced = queue.receiver != last.receiver
        lost = 0 if replaced else max(queue.dropped_datagrams - last.dropped_datagrams, 0)
        return Sight(queue.backlog_bytes, lost, replaced)

    def sent_back(self, error: OSError) -> bool:
        """Whether a send that failed so means that the payload before it came back."""
        refused = errno.ECONNREFUSED in (error.errno, self.transport.error())
        return refused and self.transport.bounces

    def reopen(self, give_up_s: float) -> None:
        """Connect again, with longer and longer pauses, until the clock is at `give_up_s`.

        Raises UndeliveredError where the server is not back by then.
        """
        self.close()
        pause_s, longest_s = _BACKOFF_S
        while True:
            time.sleep(pause_s)
            try:
                return self._open()
            except OSError as error:
                if time.monotonic() + pause_s > give_up_s:
                    raise UndeliveredError(
                        f"the StatsD server at {self._name} went away and was not back within"
                        f" {self._timeout_s:g} s ({error.strerror or error})"
                    ) from None
            pause_s = min(pause_s * 2, longest_s)

    def close(self) -> None:
        """Close the socket."""
        self.transport.close()


def _why_unreachable(name: str, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"the StatsD server {name} cannot be found: {error.strerror}; check --host or DD_AGENT_HOST"
    if isinstance(error, FileNotFoundError):
        return f"no StatsD server at {name}: there is no such socket; is the server running?"
    if isinstance(error, ConnectionRefusedError):
        return (
            f"no StatsD server listens at {name}; start it, or name another with --host, --port or --socket"
        )
    return f"the StatsD server at {name} cannot be reached: {error.strerror or error}"
