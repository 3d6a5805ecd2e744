"""`logstatsd replay` to servers that are absent, full or ending: the exit code, and a count that adds up."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from command import run
from places import SAMPLE_LOGS, SHOP
from servers import free_port


def replay(*options: str, **environment: str) -> tuple[int, dict[str, Any], str]:
    """Run the command: its exit code, its JSON and its words."""
    log = SAMPLE_LOGS / "nginx.log"
    done = run("replay", log, "--app", SHOP, "--json", *options, env=environment, code=None)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


@pytest.mark.parametrize(
    ("options", "environment", "words"),
    [
        (["--port", "CLOSED"], {}, "no StatsD server listens at udp://localhost:"),
        (["--tcp", "--port", "CLOSED"], {}, "no StatsD server listens at tcp://localhost:"),
        (["--socket", "/nonexistent/dsd.sock"], {}, "there is no such socket"),
        (["--host", "nowhere.invalid"], {}, "cannot be found"),
        ([], {"DD_AGENT_HOST": "nowhere.invalid"}, "cannot be found"),
        ([], {"DD_DOGSTATSD_URL": "unix:///nonexistent/dsd.sock"}, "there is no such socket"),
        ([], {"DD_DOGSTATSD_DISABLE": "1"}, "DD_DOGSTATSD_DISABLE is set"),
    ],
)
def test_without_a_server_nothing_is_sent_and_the_exit_code_is_3(
    options: list[str], environment: dict[str, str], words: str
) -> None:
    closed = str(free_port(socket.SOCK_DGRAM))
    code, told, said = replay(
        *[closed if option == "CLOSED" else option for option in options], **environment
    )
    assert (code, told["due"], told["sent"], told["lines"]) == (3, 0, 0, 0)
    assert words in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("kind", ["udp", "unixgram"])
def test_a_server_that_ends_midway_makes_the_exit_code_4_and_the_numbers_add_up(
    kind: str, tmp_path: Path
) -> None:
    unix = kind == "unixgram"
    path = str(tmp_path / "dsd.sock")
    server = socket.socket(socket.AF_UNIX if unix else socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(path if unix else ("127.0.0.1", 0))
    where = ["--socket", path] if unix else ["--host", "127.0.0.1", "--port", str(server.getsockname()[1])]
    received: list[int] = []

    def one_datagram() -> None:
        with server:
            received.append(server.recv(65536).count(b"\n"))

    ending = threading.Thread(target=one_datagram)
    ending.start()
    code, told, said = replay(*where, "--timeout", "0.2")
    ending.join()
    assert code == 4
    assert told["due"] == told["sent"] + told["dropped"] + told["unconfirmed"]
    assert told["sent"] <= received[0] <= told["sent"] + told["unconfirmed"]
    assert told["dropped"] > 0
    assert "went away and was not back within 0.2 s" in said
    assert f"{told['dropped']:,} lost" in said
    assert "Traceback" not in said


def test_a_server_that_reads_nothing_is_given_up(tmp_path: Path) -> None:
    path = str(tmp_path / "dsd.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        code, told, said = replay("--socket", path, "--timeout", "0.2")
    assert code == 4
    assert (told["sent"], told["due"]) == (0, told["dropped"] + told["unconfirmed"])
    assert "has taken nothing for 0.2 s" in said


def test_a_server_that_is_restarted_in_between_costs_what_it_had_not_read_which_is_exit_4(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "dsd.sock")
    received: list[int] = []
    ready, done = threading.Event(), threading.Event()

    def serve(datagrams: int | None) -> None:
        Path(path).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(path)
            server.settimeout(0.05)
            ready.set()
            while not done.is_set() and datagrams != 0:
                try:
                    received.append(server.recv(65536).count(b"\n"))
                except TimeoutError:
                    continue
                datagrams = None if datagrams is None else datagrams - 1

    def serve_twice() -> None:
        serve(2)
        serve(None)

    serving = threading.Thread(target=serve_twice)
    serving.start()
    ready.wait()
    code, told, said = replay("--socket", path)
    done.set()
    serving.join()
    assert (code, told["dropped"]) == (4 if told["unconfirmed"] else 0, 0), said
    assert told["due"] == told["sent"] + told["unconfirmed"]
    assert told["sent"] <= sum(received) <= told["due"]
