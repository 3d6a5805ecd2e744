"""The listener for people: what arrives is read, summed and shown, and nothing in it acts on a terminal."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from batches import busy_batch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from logstatsd.cli.listen import render
from logstatsd.delivery.destination import open_sink
from logstatsd.delivery.dialects import DIALECTS, format_ms
from logstatsd.delivery.encoders.timings import TimingEncoder
from logstatsd.delivery.listener import Listener
from logstatsd.delivery.naming import Naming
from logstatsd.delivery.tally import Sample, Tally, parse
from logstatsd.errors import OptionError
from logstatsd.model.route import Route

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCES = ["udp", "tcp", "unixgram", "unixstream"]


# --- reading --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "sample"),
    [
        (b"a.b:1.5|ms", Sample("a.b", "ms", (), (1.5,))),
        (b"a:1:2:3|ms|@0.5|#k:v,canary", Sample("a", "ms", ("k:v", "canary"), (1, 2, 3), 0.5)),
        (b"a:1|c|#k:/x/_int:id_|T1700000000", Sample("a", "c", ("k:/x/_int:id_",), (1,), 1, 1_700_000_000)),
        (b"a:1|d|#k:v|c:abc|e:it", Sample("a", "d", ("k:v",), (1,))),
        (b"a;k=v;l=w:2|ms", Sample("a", "ms", ("k:v", "l:w"), (2,))),
        (b"a,k=v,l=w:2|h|@0.1", Sample("a", "h", ("k:v", "l:w"), (2,), 0.1)),
        (b"a:+1|g", Sample("a", "g", (), (1,))),
    ],
)
def test_every_dialect_is_read(line: bytes, sample: Sample) -> None:
    assert parse(line) == sample


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"a",
        b"a:1",
        b":1|ms",
        b"a:|ms",
        b"a:x|ms",
        b"a:nan|ms",
        b"a:inf|c",
        b"a:1|",
        b"a:1|ms|@0",
        b"a:1|c|Tx",
    ],
)
def test_what_is_not_statsd_is_counted_as_such(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(line)
    tally = Tally()
    tally.add(b"good:1|ms\n" + line + b"\n")
    assert (tally.values, tally.malformed) == (1, 1 if line else 0)


@given(st.binary())
def test_no_packet_is_too_strange(packet: bytes) -> None:
    tally = Tally()
    tally.add(packet)
    render(tally)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(st.text(), st.integers(0, 10**9))
def test_what_our_dialects_write_is_read_back(dialect: str, rule: str, duration_us: int) -> None:
    (metric,) = Naming("shop").metrics(Route("/" + rule, "get", "matched"), "GET", 200)
    head, tail = DIALECTS[dialect].encode(metric, "ms", 1, None)
    sample = parse((head + format_ms(duration_us) + tail).rstrip(b"\n"))
    assert sample.values == (duration_us / 1000,)
    if dialect == "dogstatsd":
        assert (sample.name, sample.tags) == metric


# --- summing and showing --------------------------------------------------------------------------------


def shown(tally: Tally, rows: int | None = None) -> str:
    """The table, as a terminal would get it."""
    out = io.StringIO()
    Console(file=out, width=200, force_terminal=True, color_system="truecolor").print(render(tally, rows))
    return out.getvalue()


def test_values_are_summed_by_name_type_and_tags() -> None:
    tally = Tally()
    tally.add(b"a:1:3|ms|#k:v\na:8|ms|#k:v\na:5|ms|#k:w\na:1|c|#k:v\n")
    assert tally.as_json() == {
        "schema": 1,
        "values": 5,
        "malformed": 0,
        "series": [
            {"name": "a", "type": "c", "tags": ["k:v"], "values": 1, "sum": 1, "min": 1, "max": 1},
            {"name": "a", "type": "ms", "tags": ["k:v"], "values": 3, "sum": 12, "min": 1, "max": 8},
            {"name": "a", "type": "ms", "tags": ["k:w"], "values": 1, "sum": 5, "min": 5, "max": 5},
        ],
    }
    busiest = shown(tally).splitlines()[1]
    assert busiest.split() == ["a", "k:v", "ms", "3", "4", "1", "8"]


def test_a_table_can_be_kept_short() -> None:
    tally = Tally()
    tally.add(b"".join(b"m%d:1|ms\n" % number for number in range(30)))
    assert "and 20 more series" in shown(tally, rows=10)
    assert len(shown(tally, rows=10).splitlines()) == 12


def test_series_without_end_stay_in_bounded_memory() -> None:
    tally = Tally(max_series=3)
    tally.add(b"".join(b"m%d:1|ms\n" % number for number in range(10)))
    assert len(tally.sums) == 4
    assert "(further series)" in shown(tally)
    assert tally.values == 10


@pytest.mark.parametrize(
    "name",
    [
        "\x1b[2Jcleared",
        "\x1b]0;title\x07",
        "[bold red]markup[/]",
        "[link=x]x[/link]",
        "a\rb",
        "\u202eabc",
        "[/]",
    ],
)
def test_names_cannot_act_on_the_terminal(name: str) -> None:
    tally = Tally()
    tally.add(f"{name}:1|ms|#k{name}:v".encode())
    assert tally.values == 1
    text = shown(tally)
    for act in ("\x1b[2J", "\x1b]", "\x07", "\r", "\u202e", "\x1b[1;31m"):
        assert act not in text
    if name.startswith("["):
        assert name in text


def test_a_name_without_end_is_cut() -> None:
    tally = Tally()
    tally.add(b"x" * 10_000 + b":1|ms")
    text = "".join(shown(tally).split())
    assert 199 <= text.count("x") <= 200
    assert "…" in text


# --- listening ------------------------------------------------------------------------------------------


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


def test_on_a_terminal_what_arrives_is_shown_while_it_arrives() -> None:
    parent, child = os.openpty()
    listening = subprocess.Popen(
        [sys.executable, "-m", "logstatsd", "listen", "--port", "0"],
        stdout=child, stderr=subprocess.PIPE, text=True, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(child)
    assert listening.stderr
    address = re.search(r"udp://(.*):(\d+);", listening.stderr.readline())
    assert address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"shop.request:12|ms", (address[1], int(address[2])))
    shown = b""
    while b"shop.request" not in shown:
        shown += os.read(parent, 65_536)
    assert listening.poll() is None
    listening.terminate()
    while True:
        try:
            os.read(parent, 65_536)
        except OSError:  # Linux's way to say that the other side has closed
            break
    assert "1 values in 1 series arrived" in listening.communicate(timeout=20)[1]
    os.close(parent)


def test_a_command_that_a_signal_ends_has_a_shells_exit_code() -> None:
    listen = [sys.executable, "-m", "logstatsd", "listen", "-q", "--"]
    assert subprocess.run([*listen, "sh", "-c", "kill -9 $$"], check=False, timeout=60).returncode == 137


def test_replay_over_tcp_finds_the_listener_around_it() -> None:
    listen = [sys.executable, "-m", "logstatsd", "listen", "-q", "--json", "--tcp", "--"]
    sending = (
        "import os, socket; assert 'DD_DOGSTATSD_URL' not in os.environ\n"
        "where = os.environ['DD_AGENT_HOST'], os.environ['DD_DOGSTATSD_PORT']\n"
        "socket.create_connection(where).send(b'a:1|ms')"
    )
    env = {**os.environ, "DD_DOGSTATSD_URL": "udp://192.0.2.1:8125"}
    command = [*listen, sys.executable, "-c", sending]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["values"] == 1
