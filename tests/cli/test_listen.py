"""`listen` as a person and a shell see it; and nothing that arrives acts on a terminal."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import subprocess
import sys

import pytest
from command import COMMAND, run
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from terminal import seen, terminal, wait_for

from logstatsd.cli.listen import render
from logstatsd.delivery.tally import Tally


def shown(tally: Tally, rows: int | None = None) -> str:
    """The table, as a terminal would get it."""
    out = io.StringIO()
    Console(file=out, width=200, force_terminal=True, color_system="truecolor").print(render(tally, rows))
    return out.getvalue()


def test_a_table_can_be_kept_short() -> None:
    tally = Tally()
    tally.add(b"".join(b"m%d:1|ms\n" % number for number in range(30)))
    assert "and 20 more series" in shown(tally, rows=10)
    assert len(shown(tally, rows=10).splitlines()) == 12


def test_the_busiest_series_comes_first_with_mean_and_range() -> None:
    tally = Tally()
    tally.add(b"a:1:3|ms|#k:v\na:8|ms|#k:v\na:5|ms|#k:w\na:1|c|#k:v\n")
    busiest = shown(tally).splitlines()[1]
    assert busiest.split() == ["a", "k:v", "ms", "3", "4", "1", "8"]


def test_series_beyond_the_limit_are_one_row() -> None:
    tally = Tally(max_series=3)
    tally.add(b"".join(b"m%d:1|ms\n" % number for number in range(10)))
    assert "(further series)" in shown(tally)


@given(st.binary())
def test_no_packet_is_too_strange_to_be_shown(packet: bytes) -> None:
    tally = Tally()
    tally.add(packet)
    assert shown(tally).count("\n") > len(tally.sums)


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


def test_on_a_terminal_what_arrives_is_shown_while_it_arrives() -> None:
    with terminal() as (person, program):
        listening = subprocess.Popen(
            [*COMMAND, "listen", "--port", "0"],
            stdout=program, stderr=subprocess.PIPE, text=True, env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
        os.close(program)
        try:
            assert listening.stderr
            address = re.search(r"udp://(.*):(\d+);", listening.stderr.readline())
            assert address
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"shop.request:12|ms", (address[1], int(address[2])))
            wait_for(person, "shop.request")
            assert listening.poll() is None
            listening.terminate()
            seen(person)
            _, said = listening.communicate(timeout=20)
        finally:
            listening.kill()
    assert "1 values in 1 series arrived" in said


def test_a_command_that_a_signal_ends_has_a_shells_exit_code() -> None:
    run("listen", "-q", "--", "sh", "-c", "kill -9 $$", code=137)


def test_replay_over_tcp_finds_the_listener_around_it() -> None:
    listen = ["listen", "-q", "--json", "--tcp", "--"]
    sending = (
        "import os, socket; assert 'DD_DOGSTATSD_URL' not in os.environ\n"
        "where = os.environ['DD_AGENT_HOST'], os.environ['DD_DOGSTATSD_PORT']\n"
        "socket.create_connection(where).send(b'a:1|ms')"
    )
    done = run(*listen, sys.executable, "-c", sending, env={"DD_DOGSTATSD_URL": "udp://192.0.2.1:8125"})
    assert json.loads(done.stdout)["values"] == 1
