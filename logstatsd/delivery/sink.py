"""Deliver payloads to a StatsD server at the pace it can take, and account for every value in them."""

from __future__ import annotations

import errno
import os
import re
import socket
import time
from collections import deque
from typing import IO, TYPE_CHECKING, NamedTuple, Self

from logstatsd.delivery import transports
from logstatsd.delivery.naming import safe_constant_tag
from logstatsd.errors import UndeliveredError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from datadog.dogstatsd.base import DogStatsd

    from logstatsd.delivery.socket_queues import Queue

QUEUE_BYTES = 64 << 10
"""How full a local UDP receiver's queue may be; Linux gives it 208 KiB by default."""
LOOK_BYTES = 16 << 10
"""How much may be sent between two looks at that queue; looking at every 100 KB lost up to 12 %."""
DATAGRAM_OVERHEAD_BYTES = 1024
"""About what the kernel charges a receiver's queue for a datagram beside its bytes."""
REMOTE_RATE = 2_000
"""Datagrams a second where the receiver cannot be seen: every server that was measured takes that many."""

_BURST_S = 0.005
_BACKOFF_S = (0.02, 1.0)
_NAP_S = (0.0002, 0.002)
_URL = re.compile(r"udp://(\[.*\]|[^:]*)(:\d{1,5})?/?|unix(gram|stream)?://.*")
_ENTITY_TAG = "dd.internal.entity_id:"


class Sent(NamedTuple):
    """A payload on its way: its bytes, and how many values it holds."""

    payload: bytes
    values: int


class Sink:
    """Where payloads go. `sent`, `dropped` and `unconfirmed` count values, and add up after `flush()`."""

    name = "stdout"
    payload_bytes = transports.UNIX_BYTES
    """The largest payload to hand to `send`; a single line may be longer."""

    def __init__(self, constant_tags: Iterable[str] = ()) -> None:
        self.constant_tags = tuple(constant_tags)
        """Tags of the environment (DATADOG_TAGS, DD_ENV, …) that belong on every metric, made safe."""
        self.sent = 0
        self.dropped = 0
        self.unconfirmed = 0

    def send(self, payload: bytes, values: int) -> None:
        """Send whole lines that hold that many values. Raises UndeliveredError when that stays impossible."""
        raise NotImplementedError

    def flush(self) -> None:
        """Return once the fate of everything sent is known, as far as it can be. Raises UndeliveredError."""

    def close(self) -> None:
        """Let go of the connection."""

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
        self.sent += values
        self._file.flush()  # at --speed, the next payload may be long in coming


class SocketSink(Sink):
    """Send to a server: paced, patient while it is away for less than `timeout_s`, and accounted for.

    `rate` is datagrams a second over UDP: None for a pace that fits (by the receiver's own queue where that
    can be seen, else `REMOTE_RATE`), 0 for no pacing at all. Raises UnreachableError where nobody is there.
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
        self._dial = dial
        self._timeout_s = timeout_s
        self._asked_rate = rate
        # What may still wait in the server's queue, oldest first.
        self._in_flight: deque[Sent] = deque()
        self._in_flight_bytes = 0
        self._last_queue: Queue | None = None
        self._unseen_bytes = 0
        self._next_send_s = 0.0
        try:
            self._connect()
        except OSError as error:
            raise UnreachableError(_why_unreachable(name, error)) from None
        self.payload_bytes = self._transport.payload_bytes

    def send(self, payload: bytes, values: int) -> None:
        waiting = [Sent(payload, values)]
        give_up_s = None
        try:
            while waiting:
                try:
                    self._pace(len(waiting[0].payload))
                    self._transport.send(waiting[0].payload)
                except OSError as error:
                    give_up_s = give_up_s or time.monotonic() + self._timeout_s
                    self._recover(error, waiting, give_up_s)
                else:
                    self._in_flight.append(waiting[0])
                    self._in_flight_bytes += len(waiting.pop(0).payload)
        except UndeliveredError:
            self.dropped += sum(item.values for item in waiting)
            raise

    def flush(self) -> None:
        ours, all_of_it = _Progress(self._timeout_s), _Progress(self._timeout_s)
        while self._in_flight:
            try:
                backlog = self._look()
            except OSError as error:
                for item in self._abandon(error):
                    self.send(*item)
                continue
            if not self._in_flight:
                break
            if not all_of_it.made(backlog):
                raise self._stalled()
            if not ours.made(self._in_flight_bytes):
                # It takes what others send as well, and is never done: which part is ours, nobody can tell.
                self._settle_all(confirmed=False)
            ours.nap()

    def close(self) -> None:
        self._transport.close()

    # --- one payload ------------------------------------------------------------------------------------

    def _recover(self, error: OSError, waiting: list[Sent], give_up_s: float) -> None:
        """After a failed send: connect again, and put what came back before what still waits."""
        if isinstance(error, transports.CutOffError):
            self.unconfirmed += waiting.pop(0).values
        if error.errno == errno.EAGAIN:
            raise self._stalled()
        if error.errno == errno.EMSGSIZE:
            self.dropped += waiting.pop(0).values
            return
        waiting[:0] = self._abandon(error)
        self._wait_for_server(give_up_s)

    def _pace(self, size: int) -> None:
        """Wait until the server can take another payload of this size. Raises OSError where it is gone."""
        if self._rate:
            now = time.monotonic()
            self._next_send_s = max(self._next_send_s, now - _BURST_S) + 1 / self._rate
            if self._next_send_s > now + _BURST_S:
                time.sleep(self._next_send_s - now)
        self._unseen_bytes += size + DATAGRAM_OVERHEAD_BYTES
        if self._asked_rate == 0 or self._unseen_bytes < self._look_bytes:
            return
        progress = _Progress(self._timeout_s)
        while True:
            backlog = self._look()
            if not self._paced or backlog <= self._queue_bytes:
                return
            if not progress.made(backlog):
                raise self._stalled()
            progress.nap()

    # --- what became of it ------------------------------------------------------------------------------

    def _look(self) -> int:
        """Settle what the server has taken, and return how many bytes wait for it. Raises OSError."""
        self._unseen_bytes = 0
        queue = self._transport.queue()
        if queue is None:
            self._settle_all(confirmed=self._transport.confirms)
            return 0
        last, self._last_queue = self._last_queue, queue
        if last is not None and queue.receiver != last.receiver:
            # Somebody else listens there now; what its predecessor had not read, nobody knows.
            self._settle_all(confirmed=False)
        elif last is not None and queue.dropped_datagrams > last.dropped_datagrams:
            self._drop(queue.dropped_datagrams - last.dropped_datagrams)
        while self._in_flight:
            oldest = self._in_flight[0]
            if self._in_flight_bytes - len(oldest.payload) < queue.backlog_bytes:
                break
            self._in_flight.popleft()
            self._in_flight_bytes -= len(oldest.payload)
            self.sent += oldest.values
        return queue.backlog_bytes

    def _drop(self, datagrams: int) -> None:
        """Count what the kernel says it lost, which is what came last; and become more careful."""
        for _ in range(min(datagrams, len(self._in_flight))):
            item = self._in_flight.pop()
            self._in_flight_bytes -= len(item.payload)
            self.dropped += item.values
        self._queue_bytes //= 2
        self._look_bytes //= 2

    def _settle_all(self, *, confirmed: bool) -> None:
        values = sum(item.values for item in self._in_flight)
        self._in_flight.clear()
        self._in_flight_bytes = 0
        if confirmed:
            self.sent += values
        else:
            self.unconfirmed += values

    def _abandon(self, error: OSError) -> list[Sent]:
        """The server is gone: give up what it had not read, and return the payload that came back."""
        refused = errno.ECONNREFUSED in (error.errno, self._transport.error())
        bounced = []
        if refused and self._transport.bounces and self._in_flight:
            bounced.append(self._in_flight.pop())
        self._settle_all(confirmed=False)
        return bounced

    # --- the connection ---------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._transport = transports.connect(self._dial, self._timeout_s)
        queue = self._transport.queue()
        self._last_queue = queue
        udp = isinstance(self._transport, transports.Udp)
        self._paced = udp and queue is not None
        self._rate = self._asked_rate if udp else None
        if udp and queue is None and self._asked_rate is None:
            self._rate = REMOTE_RATE
        capacity_bytes = self._transport.capacity_bytes
        self._queue_bytes = min(QUEUE_BYTES, capacity_bytes // 3) if capacity_bytes else QUEUE_BYTES
        self._look_bytes = min(LOOK_BYTES, self._queue_bytes // 4)

    def _wait_for_server(self, give_up_s: float) -> None:
        """Connect again, with longer and longer pauses, until the clock is at `give_up_s`."""
        self._transport.close()
        pause_s, longest_s = _BACKOFF_S
        while True:
            time.sleep(pause_s)
            try:
                return self._connect()
            except OSError as error:
                if time.monotonic() + pause_s > give_up_s:
                    raise UndeliveredError(
                        f"the StatsD server at {self.name} went away and was not back within"
                        f" {self._timeout_s:g} s ({error.strerror or error})"
                    ) from None
            pause_s = min(pause_s * 2, longest_s)

    def _stalled(self) -> UndeliveredError:
        self._settle_all(confirmed=False)
        return UndeliveredError(
            f"the StatsD server at {self.name} has taken nothing for {self._timeout_s:g} s"
        )


class _Progress:
    """Patience with a queue, which may grow at one end while it is taken from at the other."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._last_bytes = 0
        self._fell_s = time.monotonic()
        self._nap_s, self._longest_nap_s = _NAP_S

    def made(self, queue_bytes: int) -> bool:
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


# --- destinations ---------------------------------------------------------------------------------------


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
    _refuse_unusable_environment(explicit=(host, port, socket_path) != (None, None, None))
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
    """Write what a server would be sent, with the environment's tags, to a binary file."""
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


def _refuse_unusable_environment(*, explicit: bool) -> None:
    """Where the client would send nothing, or to somewhere else, without a word."""
    if os.environ.get("DD_DOGSTATSD_DISABLE") in {"True", "true", "yes", "1"}:
        raise UnreachableError(
            "DD_DOGSTATSD_DISABLE is set, so nothing may be sent: unset it, or use --dry-run"
        )
    url = os.environ.get("DD_DOGSTATSD_URL")
    if url and not explicit and not _URL.fullmatch(url):
        known = "udp://HOST:PORT, or unix://, unixgram:// or unixstream:// with a path"
        raise UnreachableError(f"DD_DOGSTATSD_URL {url!r} is nothing that the datadog client takes: {known}")
    port = os.environ.get("DD_DOGSTATSD_PORT")
    if port and not explicit and not url and not (port.isdecimal() and 0 < int(port) < 1 << 16):
        raise UnreachableError(f"DD_DOGSTATSD_PORT {port!r} is not a port")


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
