"""`replay --resume` and `--follow` as a shell sees them: what is sent, told and kept, and the exit code."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sample
from places import SAMPLE_LOGS

from logstatsd.routing.snapshot import dump_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = [sys.executable, "-m", "logstatsd", "replay", "access.log", "--routes", "routes.json"]
LINES = (SAMPLE_LOGS / "nginx.log").read_bytes().splitlines(keepends=True)


class Server:
    """A StatsD server at a Unix socket that counts lines, and ends after so many datagrams."""

    def __init__(self, path: Path, datagrams: int | None = None) -> None:
        self.lines: list[bytes] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._left = datagrams
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        with self._socket:
            while self._left != 0 and (datagram := self._socket.recv(65_536)) != b"end":
                self.lines += datagram.splitlines()
                self._left = None if self._left is None else self._left - 1

    def end(self, path: Path) -> list[bytes]:
        """Everything that came."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"end", str(path))
        self._thread.join()
        return self.lines


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "routes.json").write_text(dump_snapshot(sample.loaded().snapshot()))
    return tmp_path


@pytest.fixture
def server(here: Path) -> Iterator[Server]:
    path = here / "dsd.sock"
    running = Server(path)
    yield running
    running.end(path)


def write(lines: list[bytes]) -> None:
    with Path("access.log").open("ab") as file:
        file.writelines(lines)


def resume(*options: str, **environment: str) -> tuple[int, dict[str, Any], str]:
    """One run: its exit code, its JSON and its words."""
    done = subprocess.run(
        [*COMMAND, "--socket", "dsd.sock", "--checkpoint", "state.json", "--json", *options],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    told = json.loads(done.stdout or "{}")
    if told:
        outside = told["outside"]
        assert told["lines"] == told["parsed"] + told["rejected"] + outside
        assert told["due"] == told["sent"] + told["dropped"] + told["unconfirmed"]
    return done.returncode, told, done.stderr


def test_each_run_sends_what_was_added(server: Server) -> None:
    write(LINES[:50])
    assert resume()[1]["sent"] == 50
    code, told, said = resume()
    assert (code, told["lines"], said) == (0, 0, "nothing new\n")
    write(LINES[50:60])
    code, told, said = resume("-q")
    assert (code, told["sent"], said) == (0, 10, "")


def test_a_server_that_ends_midway_is_exit_4_with_numbers_and_the_next_run_repeats_it(here: Path) -> None:
    write(LINES)
    Server(here / "dsd.sock", datagrams=1)
    code, told, said = resume("--timeout", "0.2")
    assert (code, told["lines"]) == (4, len(LINES))
    assert told["dropped"] > 0
    assert "went away and was not back within 0.2 s" in said
    (here / "dsd.sock").unlink()
    Server(here / "dsd.sock")
    code, told, _ = resume()
    assert (code, told["sent"]) == (0, len(LINES)), "the checkpoint had not moved"


def test_a_checkpoint_that_cannot_be_saved_stays_as_it_was(here: Path, server: Server) -> None:
    write(LINES[:50])
    resume()
    write(LINES[50:60])
    before = (here / "state.json").read_bytes()
    limited = 'ulimit -f 0; exec "$@"'  # as a full disk: no file may grow
    run = [*COMMAND, "--socket", "dsd.sock", "--checkpoint", "state.json", "--json"]
    done = subprocess.run(["sh", "-c", limited, "sh", *run], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the checkpoint cannot be kept here: File too large" in done.stderr
    assert (here / "state.json").read_bytes() == before
    assert not (here / "state.json.tmp").exists()


def test_garbage_alone_is_passed_and_said(server: Server) -> None:
    write(LINES[:50])
    resume()
    write([b"\x16\x03\x01\n"])
    code, told, said = resume("-q")
    assert (code, told["lines"], told["rejected"]) == (0, 1, 1)
    assert said.startswith("1 of 1 lines rejected: no match 1\n")
    write([b"another format\n"] * 200)
    code, told, said = resume("-q")
    assert code == 1
    assert "200 of 200 lines rejected, more than --max-rejected 50%" in said
    write(LINES[50:250])
    code, told, said = resume("-q")
    assert (code, told["rejected"], told["sent"]) == (0, 200, 200), "the checkpoint stayed before them"


def test_a_log_of_an_earlier_run_may_be_read_by_another_field(server: Server) -> None:
    line = LINES[1].removesuffix(b"0.100\n") + b"0.020 0.010\n"
    write([line])
    resume()
    write([line])
    resume("--time-field", "upstream_response_time")
    assert [sent.partition(b"|")[0] for sent in server.lines] == [
        b"shop.api.request:20",
        b"shop.api.request:10",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_following_ends_on_a_signal_with_all_it_read_delivered(
    number: signal.Signals, here: Path, server: Server
) -> None:
    write(LINES[:30])
    following = subprocess.Popen(
        [*COMMAND, "--socket", "dsd.sock", "--checkpoint", "state.json", "--follow", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(server, 30)
    write(LINES[30:50])
    wait_for(server, 50)
    following.send_signal(number)
    out, said = following.communicate(timeout=20)
    assert (following.returncode, json.loads(out)["sent"]) == (128 + number, 50), said
    assert resume()[1]["lines"] == 0


def test_a_followed_log_may_come_later(here: Path, server: Server) -> None:
    following = subprocess.Popen(
        [*COMMAND, "--socket", "dsd.sock", "--checkpoint", "state.json", "--follow"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert following.stderr
    assert following.stderr.readline().endswith("access.log: not there yet, waiting for it\n")
    write(LINES[:30])
    wait_for(server, 30)
    following.terminate()
    said = following.communicate(timeout=20)[1]
    assert said.count("is not there now") <= 1, said


def test_a_followed_log_ends_with_its_terminal(here: Path, server: Server) -> None:
    write(LINES[:30])
    parent, child = os.openpty()
    command = [*COMMAND, "--socket", "dsd.sock", "--checkpoint", "state.json", "--follow"]
    following = subprocess.Popen(command, stderr=child, stdin=subprocess.DEVNULL)
    os.close(child)
    wait_for(server, 30)
    following.send_signal(signal.SIGHUP)
    write(LINES[30:50])
    wait_for(server, 50)
    os.close(parent)
    following.send_signal(signal.SIGHUP)
    assert following.wait(timeout=20) == 128 + signal.SIGHUP


@pytest.mark.parametrize("options", [["--app", "nowhere:app"], []])
def test_with_nothing_new_neither_app_nor_client_is_imported(options: list[str], server: Server) -> None:
    write(LINES[:10])
    resume()
    command = [
        *COMMAND[:-2],
        *(options or COMMAND[-2:]),
        "--socket",
        "dsd.sock",
        "--checkpoint",
        "state.json",
    ]
    command.insert(1, "-Ximporttime")
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=60, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "logstatsd.cli.resume" in imported
    assert not imported & {
        "datadog",
        "flask",
        "werkzeug",
        "rich",
        "logstatsd.routing.app",
        "logstatsd.delivery.sink",
    }


def test_a_pattern_stands_for_the_logs_there_are(here: Path, server: Server) -> None:
    for name in ("one.log", "two.log"):
        (here / name).write_bytes(b"".join(LINES[:10]))
    command = [part if part != "access.log" else "*.log" for part in COMMAND]
    for _ in range(2):
        subprocess.run(
            [*command, "--socket", "dsd.sock", "--checkpoint", "state.json", "-q"], check=True, timeout=60
        )
    wait_for(server, 20)
    assert len(server.lines) == 20


def wait_for(server: Server, lines: int) -> None:
    give_up = time.monotonic() + 20
    while len(server.lines) < lines:
        assert time.monotonic() < give_up
        time.sleep(0.01)
