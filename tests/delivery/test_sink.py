"""Delivery: nothing is lost without a word, whatever the server does meanwhile."""

from __future__ import annotations

import io
import itertools
import os
import socket
import struct
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from batches import busy_batch
from receivers import receiving
from servers import Address, free_port

from logstatsd.delivery import socket_queues as queues
from logstatsd.delivery.destination import open_file_sink, open_sink
from logstatsd.delivery.encoders.timings import TimingEncoder
from logstatsd.delivery.naming import Naming
from logstatsd.delivery.pacing import REMOTE_RATE
from logstatsd.delivery.socket_queues import Queue
from logstatsd.delivery.transports import Udp
from logstatsd.errors import UndeliveredError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logstatsd.delivery.encoders.encoder import Totals
    from logstatsd.delivery.sink import Sink, SocketSink

TRANSPORTS = ["udp", "unixgram", "unixstream", "tcp"]
PAYLOAD = b"shop.api.request:1|ms\n" * 5
VALUES = 5


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith(("DD_", "DATADOG_"))]:
        monkeypatch.delenv(variable, raising=False)


class OpenTo(Protocol):
    """`open_to(transport, address, **options)`: a sink that is closed when the test ends."""

    def __call__(self, transport: str, address: Address | str, **options: float) -> SocketSink: ...


@pytest.fixture
def open_to() -> Iterator[OpenTo]:
    """Open sinks to receivers of tests/support/receivers.py, or to a Server."""
    with ExitStack() as opened:

        def open_to(transport: str, address: Address | str, **options: float) -> SocketSink:
            if isinstance(address, str):
                return opened.enter_context(open_sink(socket_path=f"{transport}://{address}", **options))
            return opened.enter_context(
                open_sink(address.host, address.port, tcp=transport == "tcp", **options)
            )

        yield open_to


def replay(sink: Sink, values: int, *, pack: bool = False) -> Totals:
    """Send that many values in batches of 10,000, flushing after each, as the command does."""
    sending = TimingEncoder(Naming("shop"), sink, pack=pack)
    for number in range(values // 10_000):
        sending.add(busy_batch(10_000, seed=number))
        sending.flush()
    return sending.finish()


def adds_up(sink: Sink, due: int) -> bool:
    """The one equation that always holds."""
    return due == sink.sent + sink.dropped + sink.unconfirmed


# --- all of it arrives ----------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [False, True], ids=["lines", "packed"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_counting_receiver_gets_exactly_what_is_due(
    open_to: OpenTo, transport: str, pack: bool, tmp_path: Path
) -> None:
    with receiving(transport, directory=tmp_path) as inbox:
        sink = open_to(transport, inbox.address)
        totals = replay(sink, 100_000, pack=pack)
        sink.close()
    assert totals[:4] == (100_000, 100_000, 0, 0)
    assert sum(inbox.counts.values()) == 100_000
    assert len(inbox.counts) == totals.series == 60


@pytest.mark.parametrize("transport", ["udp", "unixgram"])
def test_datagrams_are_full_and_never_too_long(open_to: OpenTo, transport: str, tmp_path: Path) -> None:
    with receiving(transport, directory=tmp_path) as inbox:
        sink = open_to(transport, inbox.address)
        replay(sink, 20_000)
        sink.close()
    sizes = list(map(len, inbox.datagrams))
    assert max(sizes) <= sink.payload_bytes
    assert sum(sizes) / len(sizes) > 0.9 * sink.payload_bytes


# --- a receiver that is slower than we are --------------------------------------------------------------


@contextmanager
def slow_udp_receiver(buffer_bytes: int | None = None) -> Iterator[tuple[Address, list[int]]]:
    """Counts values, and rests after each datagram; its buffer is the system's default unless said."""
    counts: list[int] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        if buffer_bytes:
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        receiver.bind(("127.0.0.1", 0))

        def run() -> None:
            while (datagram := receiver.recv(65536)) != b"stop":
                counts.append(datagram.count(b"\n"))
                time.sleep(0.0001)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        address = Address(*receiver.getsockname())
        yield address, counts
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while thread.is_alive():
                sender.sendto(b"stop", address)
                thread.join(0.01)


def test_a_slow_receiver_loses_nothing_with_pacing(open_to: OpenTo) -> None:
    with slow_udp_receiver() as (address, counts):
        totals = replay(open_to("udp", address), 100_000)
    assert (totals.sent, totals.dropped, sum(counts)) == (100_000, 0, 100_000)


@pytest.mark.parametrize("buffer_bytes", [2_048, 16_384])
def test_nor_does_one_whose_buffer_is_small(open_to: OpenTo, buffer_bytes: int) -> None:
    with slow_udp_receiver(buffer_bytes) as (address, counts):
        totals = replay(open_to("udp", address), 20_000)
    assert (totals.sent, totals.dropped, sum(counts)) == (20_000, 0, 20_000)


def test_without_pacing_it_loses_and_the_loss_is_counted(open_to: OpenTo) -> None:
    with slow_udp_receiver() as (address, counts):
        totals = replay(open_to("udp", address, rate=0), 100_000)
    assert totals.dropped > 10_000
    assert sum(counts) == pytest.approx(totals.sent, abs=0.02 * totals.due)
    assert totals.due == totals.sent + totals.dropped + totals.unconfirmed


@pytest.mark.parametrize("transport", ["unixgram", "unixstream", "tcp"])
def test_a_receiver_that_takes_nothing_is_given_up_after_the_timeout(
    open_to: OpenTo, transport: str, tmp_path: Path
) -> None:
    with Server(transport, tmp_path) as server:
        sink = open_to(transport, server.address, timeout_s=0.2)
        sent = 0
        with pytest.raises(UndeliveredError, match=r"has taken nothing for 0\.2 s"):
            while sent < 1_000_000 * VALUES:
                sent += 1000 * VALUES
                sink.send(PAYLOAD * 1000, 1000 * VALUES)
        assert adds_up(sink, sent)
        # Of a payload that TCP cut off, the server may have whole lines.
        assert (sink.sent, sink.dropped) == (0, 0 if transport == "tcp" else 1000 * VALUES)


def test_a_udp_receiver_that_takes_nothing_is_given_up_too(open_to: OpenTo) -> None:
    with Server("udp", None) as server:
        sink = open_to("udp", server.address, timeout_s=0.2)
        with pytest.raises(UndeliveredError, match="has taken nothing"):
            replay(sink, 10_000)
        # What waits in its queue may yet be read.
        assert (sink.sent, sink.unconfirmed > 0) == (0, True)


def test_a_receiver_that_others_keep_busy_is_not_taken_for_a_dead_one(
    open_to: OpenTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server("udp", None) as server:
        sink = open_to("udp", server.address, timeout_s=0.05)
        sink.send(PAYLOAD, VALUES)
        rising_and_falling = itertools.cycle([3_000, 5_000, 4_000])
        monkeypatch.setattr(Udp, "queue", lambda _: Queue(next(rising_and_falling)))
        sink.flush()
    assert (sink.sent, sink.dropped, sink.unconfirmed) == (0, 0, VALUES)


# --- a server that ends ---------------------------------------------------------------------------------


class Server:
    """A receiver that reads only when told, and can end and come back at the same address."""

    def __init__(self, transport: str, directory: Path | None) -> None:
        self.stream = transport in ("tcp", "unixstream")
        self.framed = transport == "unixstream"
        self.values = 0
        self.address: Address | str
        if transport.startswith("unix"):
            assert directory is not None
            self.address = str(directory / "server.sock")
        else:
            self.address = Address("127.0.0.1", free_port(self._kind))
        self.start()

    @property
    def _kind(self) -> socket.SocketKind:
        return socket.SOCK_STREAM if self.stream else socket.SOCK_DGRAM

    def start(self) -> None:
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        if isinstance(self.address, str):
            Path(self.address).unlink(missing_ok=True)
        self.socket = socket.socket(family, self._kind)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.address)
        if self.stream:
            self.socket.listen()
        self.connection: socket.socket | None = None if self.stream else self.socket

    def read(self, payloads: int, timeout_s: float = 5) -> None:
        """Read so many of PAYLOAD."""
        if self.connection is None:
            self.connection, _ = self.socket.accept()
        self.connection.settimeout(timeout_s)
        for _ in range(payloads):
            if self.framed:
                assert self.connection.recv(4, socket.MSG_WAITALL) == struct.pack("<I", len(PAYLOAD))
            flags = socket.MSG_WAITALL if self.stream else 0
            assert self.connection.recv(len(PAYLOAD), flags) == PAYLOAD
            self.values += VALUES

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Meanwhile, read whatever comes."""
        done = threading.Event()

        def run() -> None:
            while not done.is_set():
                with suppress(TimeoutError):
                    self.read(1, timeout_s=0.01)

        thread = threading.Thread(target=run)
        thread.start()
        yield
        done.set()
        thread.join()

    def stop(self) -> None:
        self.socket.close()
        if self.connection is not None:
            self.connection.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_that_is_restarted_is_waited_for(open_to: OpenTo, transport: str, tmp_path: Path) -> None:
    with Server(transport, tmp_path) as server:
        sink = open_to(transport, server.address, timeout_s=5)
        for _ in range(6):
            sink.send(PAYLOAD, VALUES)
        server.read(4)
        server.stop()
        restart = threading.Timer(0.1, server.start)
        restart.start()
        for _ in range(4):
            sink.send(PAYLOAD, VALUES)
        restart.join()
        first, server.values = server.values, 0
        with server.reading():
            sink.flush()
    assert adds_up(sink, 10 * VALUES)
    assert sink.dropped == 0
    assert sink.sent <= first + server.values <= sink.sent + sink.unconfirmed
    # Two payloads died unread; of the four before them, nobody can say without an answer.
    assert sink.unconfirmed <= 7 * VALUES
    assert server.values >= 3 * VALUES


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_that_does_not_come_back_ends_the_run_with_the_numbers(
    open_to: OpenTo, transport: str, tmp_path: Path
) -> None:
    with Server(transport, tmp_path) as server:
        sink = open_to(transport, server.address, timeout_s=0.1)
        sink.send(PAYLOAD, VALUES)
        server.read(1)
        sink.flush()
        assert sink.sent == VALUES
        server.stop()
        with pytest.raises(UndeliveredError, match=r"went away and was not back within 0\.1 s"):
            for _ in range(3):
                sink.send(PAYLOAD, VALUES)
    handed_over = sink.sent + sink.dropped + sink.unconfirmed
    assert handed_over in (2 * VALUES, 3 * VALUES)
    assert sink.sent == VALUES
    assert sink.dropped >= VALUES


def test_the_error_of_a_replay_tells_what_was_delivered(open_to: OpenTo, tmp_path: Path) -> None:
    with Server("unixgram", tmp_path) as server:
        sending = TimingEncoder(Naming("shop"), open_to("unixgram", server.address, timeout_s=0.1))
        server.stop()
        with pytest.raises(UndeliveredError, match=r": 0 of 10,000 values delivered, 10,000 lost$"):
            sending.add(busy_batch(10_000))
    assert sending.totals()[:4] == (10_000, 0, 10_000, 0)


@pytest.mark.parametrize("transport", ["unixgram", "unixstream", "tcp", "udp"])
def test_what_a_server_had_not_read_when_it_ended_is_unconfirmed(
    open_to: OpenTo, transport: str, tmp_path: Path
) -> None:
    with Server(transport, tmp_path) as server:
        sink = open_to(transport, server.address)
        for _ in range(3):
            sink.send(PAYLOAD, VALUES)
        if server.stream:
            server.read(0)
        server.stop()
        sink.flush()
    assert (sink.sent, sink.dropped, sink.unconfirmed) == (0, 0, 3 * VALUES)


# --- before anything is sent ----------------------------------------------------------------------------


def test_a_closed_udp_port_is_noticed_at_once() -> None:
    with pytest.raises(UnreachableError, match="no StatsD server listens at udp://127"):
        open_sink("127.0.0.1", free_port(socket.SOCK_DGRAM))


def test_a_closed_udp_port_is_noticed_where_no_table_shows_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(queues, "is_local", lambda _: False)
    with pytest.raises(UnreachableError, match="no StatsD server listens"):
        open_sink("127.0.0.1", free_port(socket.SOCK_DGRAM))


def test_a_closed_tcp_port_is_noticed() -> None:
    with pytest.raises(UnreachableError, match="no StatsD server listens at tcp://127"):
        open_sink("127.0.0.1", free_port(), tcp=True)


@pytest.mark.parametrize("scheme", ["", "unixgram://", "unixstream://"])
def test_a_missing_socket_file_is_named(scheme: str, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"no StatsD server at .*dsd\.socket: there is no such socket"):
        open_sink(socket_path=f"{scheme}{tmp_path / 'dsd.socket'}")


def test_a_socket_file_without_a_server_is_named(tmp_path: Path) -> None:
    with Server("unixgram", tmp_path) as server:
        pass
    with pytest.raises(UnreachableError, match="no StatsD server listens"):
        open_sink(socket_path=str(server.address))


@pytest.mark.parametrize("tcp", [False, True])
def test_a_name_that_does_not_resolve_is_named(tcp: bool) -> None:
    # RFC 6761 keeps this top-level domain from ever existing.
    with pytest.raises(UnreachableError, match=r"nowhere\.invalid:8125 cannot be found"):
        open_sink("nowhere.invalid", 8125, tcp=tcp)


@pytest.mark.parametrize("host", ["a..b", ".a", 64 * "x" + ".test", "\u00fc..test", "\udcff"])
@pytest.mark.parametrize("tcp", [False, True])
def test_a_host_that_is_no_name_is_one_that_is_not_found(host: str, tcp: bool) -> None:
    """Python's codec for host names refuses it, before anybody is asked."""
    with pytest.raises(UnreachableError, match="cannot be found: it is not a host name; check --host"):
        open_sink(host, 8125, tcp=tcp)


# --- what the kernel cannot tell ------------------------------------------------------------------------


def test_a_receiver_that_cannot_be_seen_is_sent_to_at_a_fixed_rate_and_unconfirmed(
    open_to: OpenTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "is_local", lambda _: False)
    with receiving("udp") as inbox:
        sink = open_to("udp", inbox.address)
        started_s = time.monotonic()
        for _ in range(200):
            sink.send(PAYLOAD, VALUES)
        sink.flush()
        took_s = time.monotonic() - started_s
    assert (sink.sent, sink.dropped, sink.unconfirmed) == (0, 0, 200 * VALUES)
    assert sum(inbox.counts.values()) == 200 * VALUES
    assert took_s >= 0.8 * 200 / REMOTE_RATE


def test_a_rate_can_be_asked_for(open_to: OpenTo) -> None:
    with receiving("udp") as inbox:
        sink = open_to("udp", inbox.address, rate=500)
        started_s = time.monotonic()
        for _ in range(50):
            sink.send(PAYLOAD, VALUES)
        sink.flush()
        took_s = time.monotonic() - started_s
    assert sink.sent == 50 * VALUES
    assert took_s >= 0.8 * 50 / 500


@pytest.mark.parametrize("source", ["sock_diag", "procfs"])
@pytest.mark.parametrize(
    ("family", "bound", "host"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, "0.0.0.0", "localhost"),
        (socket.AF_INET, "127.0.0.1", "localhost"),
        (socket.AF_INET, "0.0.0.0", "127.1.2.3"),
        (socket.AF_INET6, "::", "127.0.0.1"),
        (socket.AF_INET6, "::", "::1"),
        (socket.AF_INET6, "::1", "::1"),
    ],
)
def test_the_queue_of_a_receiver_on_this_host_is_found(
    family: socket.AddressFamily,
    bound: str,
    host: str,
    source: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    if source == "procfs":
        monkeypatch.setattr(queues, "_diagnose", lambda *_: b"")
    else:
        monkeypatch.setattr(queues, "PROC_NET", tmp_path)
    with socket.socket(family, socket.SOCK_DGRAM) as receiver:
        receiver.bind((bound, 0))
        with open_sink(host, receiver.getsockname()[1], timeout_s=5) as sink:
            sink.send(PAYLOAD, VALUES)
            threading.Timer(0.02, receiver.recv, (65536,)).start()
            sink.flush()
    assert (sink.sent, sink.unconfirmed) == (VALUES, 0)


def test_another_process_at_the_same_port_is_noticed(open_to: OpenTo) -> None:
    with Server("udp", None) as server:
        sink = open_to("udp", server.address)
        sink.send(PAYLOAD, VALUES)
        server.stop()
        server.start()
        sink.flush()
        assert (sink.sent, sink.unconfirmed) == (0, VALUES)


# --- the environment ------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["udp", "unixgram", "unixstream"])
def test_the_destination_is_found_as_the_datadog_client_finds_it(
    transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving(transport, directory=tmp_path) as inbox:
        address = inbox.address
        where = address if isinstance(address, str) else f"{address.host}:{address.port}"
        monkeypatch.setenv("DD_DOGSTATSD_URL", f"{transport}://{where}")
        with open_sink() as sink:
            sink.send(PAYLOAD, VALUES)
            sink.flush()
    assert sum(inbox.counts.values()) == VALUES


def test_host_and_port_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving("udp") as inbox:
        monkeypatch.setenv("DD_AGENT_HOST", "127.0.0.1")
        monkeypatch.setenv("DD_DOGSTATSD_PORT", str(inbox.address.port))
        with open_sink() as sink:
            assert sink.name == f"udp://127.0.0.1:{inbox.address.port}"


def test_constant_tags_come_from_the_environment_but_for_those_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATADOG_TAGS", "region:eu west,canary")
    monkeypatch.setenv("DD_ENV", "prod")
    monkeypatch.setenv("DD_ENTITY_ID", "a-pod")
    monkeypatch.setenv("DD_EXTERNAL_ENV", "it-false")
    out = io.BytesIO()
    sink = open_file_sink(out)
    assert sink.constant_tags == ("region:eu_west", "canary", "env:prod")
    sending = TimingEncoder(Naming("shop", tags=("team:web",)), sink)
    sending.add(busy_batch(1))
    sending.finish()
    assert out.getvalue().endswith(b",team:web,region:eu_west,canary,env:prod\n")


@pytest.mark.parametrize("value", ["1", "true", "True", "yes"])
def test_a_switched_off_client_is_refused_with_words(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DD_DOGSTATSD_DISABLE", value)
    with pytest.raises(UnreachableError, match="DD_DOGSTATSD_DISABLE is set"):
        open_sink("127.0.0.1")


def test_a_url_that_the_client_would_ignore_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DD_DOGSTATSD_URL", "http://127.0.0.1:8125")
    with pytest.raises(UnreachableError, match="is nothing that the datadog client takes"):
        open_sink()


def test_a_port_that_the_client_would_ignore_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DD_DOGSTATSD_PORT", "eight")
    with pytest.raises(UnreachableError, match="DD_DOGSTATSD_PORT 'eight' is not a port"):
        open_sink()
