"""The listener takes in what arrives by every transport, until it is told to end."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest
from batches import busy_batch

from logstatsd.delivery.destination import open_sink
from logstatsd.delivery.encoders.timings import TimingEncoder
from logstatsd.delivery.listener import Listener
from logstatsd.delivery.naming import Naming
from logstatsd.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from logstatsd.delivery.tally import Tally

SOURCES = ["udp", "tcp", "unixgram", "unixstream"]


@pytest.fixture(params=SOURCES)
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    """A listener of each kind, on a free port or path."""
    kind = request.param
    path = {"unixgram": str(tmp_path / "dsd.sock"), "unixstream": f"unixstream://{tmp_path / 'dsd.sock'}"}
    with Listener(port=0, socket_path=path.get(kind), tcp=kind == "tcp") as listener:
        assert listener.address.startswith(f"{kind}://")
        yield listener
    assert not (tmp_path / "dsd.sock").exists()


def replay_to(listener: Listener, values: int) -> None:
    """Send so many values to a listener that is running."""
    where = listener.address.partition("://")[2]
    if listener.address.startswith("unix"):
        sink = open_sink(socket_path=listener.address)
    else:
        host, _, port = where.rpartition(":")
        sink = open_sink(host, int(port), tcp=listener.address.startswith("tcp"))
    with sink:
        sending = TimingEncoder(Naming("shop"), sink)
        sending.add(busy_batch(values))
        assert sending.finish().sent == values


def test_a_replay_is_summed_until_the_count_is_reached(listener: Listener) -> None:
    sender = threading.Thread(target=replay_to, args=(listener, 5_000))
    sender.start()
    tally = listener.run(count=5_000, for_s=20)
    sender.join()
    assert (tally.values, tally.malformed, len(tally.sums)) == (5_000, 0, 60)


def test_stopping_takes_in_what_has_arrived(listener: Listener) -> None:
    running = threading.Thread(target=listener.run)
    running.start()
    replay_to(listener, 5_000)
    listener.stop()
    running.join()
    assert listener.tally.values == 5_000


def test_silence_ends_it_but_only_after_something_came() -> None:
    ticks: list[int] = []
    with Listener(port=0) as listener, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

        def tick(tally: Tally) -> None:
            ticks.append(tally.values)
            host, port = listener.address.removeprefix("udp://").split(":")
            if len(ticks) == 3:
                sender.sendto(b"a:1|ms", (host, int(port)))

        tally = listener.run(idle_s=0.02, tick_s=0.01, on_tick=tick, for_s=20)
    assert tally.values == 1
    assert ticks[:3] == [0, 0, 0]


def test_it_ends_after_so_many_seconds() -> None:
    with Listener(port=0) as listener:
        assert listener.run(for_s=0.01).values == 0


def test_a_port_in_use_is_named() -> None:
    with Listener(port=0) as first:
        port = int(first.address.rpartition(":")[2])
        with pytest.raises(
            OptionError, match=rf"cannot listen at 127\.0\.0\.1:{port}: Address already in use"
        ):
            Listener(port=port)


def test_a_host_that_is_no_name_is_told_of() -> None:
    with pytest.raises(OptionError, match=r"cannot listen at a\.\.b:8125: it is not a host name"):
        Listener("a..b", 8125)


def test_a_socket_that_its_owner_left_behind_is_taken_over_but_no_other_file_is(tmp_path: Path) -> None:
    path = tmp_path / "dsd.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(path))
    with Listener(socket_path=str(path)), pytest.raises(OptionError, match="Address already in use"):
        Listener(socket_path=str(path))
    path.write_text("precious")
    with pytest.raises(OptionError, match="Address already in use"):
        Listener(socket_path=str(path))
    assert path.read_text() == "precious"


def test_a_sender_that_breaks_off_or_lies_about_lengths_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "dsd.sock"
    with Listener(socket_path=f"unixstream://{path}") as listener:
        running = threading.Thread(target=listener.run)
        running.start()
        for data in (b"\x05\0\0\0a:1", b"\xff\xff\xff\x7f" + b"x" * (2 << 20), b"\x06\0\0\0a:1|ms"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sender:
                sender.connect(str(path))
                try:
                    sender.sendall(data)
                except BrokenPipeError:
                    assert len(data) > 1 << 20
        listener.stop()
        running.join()
    assert (listener.tally.values, listener.tally.malformed) == (1, 0)
