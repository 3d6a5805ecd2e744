"""`replay --resume` and `--follow` as a shell sees them: what is sent, told and kept, and the exit code."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sample
from command import COMMAND, modules, run
from places import SAMPLE_LOGS
from servers import poll

from logstatsd.routing.snapshot import dump_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

REPLAY = ["replay", "access.log", "--routes", "routes.json"]
STATE = ["--socket", "dsd.sock", "--checkpoint", "state.json"]
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
    done = run(*REPLAY, *STATE, "--json", *options, env=environment, code=None)
    told = json.loads(done.stdout or "{}")
    if told:
        outside = told["outside"]
        assert told["lines"] == told["parsed"] + told["rejected"] + outside
        assert told["due"] == told["sent"] + told["dropped"] + told["unconfirmed"]
    return done.returncode, told, done.stderr


@contextmanager
def following(*options: str, **streams: Any) -> Iterator[subprocess.Popen[Any]]:
    """A run that follows the log, ended at the latest with its block."""
    with subprocess.Popen([*COMMAND, *REPLAY, *STATE, "--follow", *options], **streams) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(server: Server, lines: int) -> None:
    poll(f"{lines} lines at the server", lambda: len(server.lines) >= lines)


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
    done = run(*REPLAY, *STATE, "--json", command=["sh", "-c", limited, "sh", *COMMAND], code=1)
    assert "the checkpoint cannot be kept here: File too large" in done.stderr
    assert (here / "state.json").read_bytes() == before
    assert [file.name for file in here.glob(".*.tmp")] == []


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
    wait_for(server, 2)
    assert [sent.partition(b"|")[0] for sent in server.lines] == [
        b"shop.api.request:20",
        b"shop.api.request:10",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_following_ends_on_a_signal_with_all_it_read_delivered(
    number: signal.Signals, here: Path, server: Server
) -> None:
    write(LINES[:30])
    with following(
        "--json", "--from", "start", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for(server, 30)
        write(LINES[30:50])
        wait_for(server, 50)
        process.send_signal(number)
        out, said = process.communicate(timeout=20)
    assert (process.returncode, json.loads(out)["sent"]) == (128 + number, 50), said
    assert resume()[1]["lines"] == 0


def test_a_followed_log_may_come_later(here: Path, server: Server) -> None:
    with following(stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert process.stderr.readline().endswith("access.log: not there yet, waiting for it\n")
        write(LINES[:30])
        wait_for(server, 30)
        process.terminate()
        said = process.communicate(timeout=20)[1]
    assert said.count("is not there now") <= 1, said


def test_a_followed_log_ends_with_its_terminal(here: Path, server: Server) -> None:
    write(LINES[:30])
    parent, child = os.openpty()
    with following("--from", "start", stderr=child, stdin=subprocess.DEVNULL) as process:
        os.close(child)
        wait_for(server, 30)
        process.send_signal(signal.SIGHUP)
        write(LINES[30:50])
        wait_for(server, 50)
        os.close(parent)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=20) == 128 + signal.SIGHUP


@pytest.mark.parametrize("options", [["--app", "nowhere:app"], []])
def test_with_nothing_new_neither_app_nor_client_is_imported(options: list[str], server: Server) -> None:
    write(LINES[:10])
    resume()
    imported = modules("replay", "access.log", *(options or ["--routes", "routes.json"]), *STATE, "--resume")
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
    for _ in range(2):
        run("replay", "*.log", "--routes", "routes.json", *STATE, "-q")
    wait_for(server, 20)
    assert len(server.lines) == 20


# --- a format that changes --------------------------------------------------------------------------------

PLAIN = [line.rpartition(b" ")[0] + b"\n" for line in LINES]


def test_a_resumed_run_goes_on_where_the_format_changes(server: Server) -> None:
    write(PLAIN[:200])
    code, told, said = resume()
    assert (code, told["sent"], told["untimed"]) == (1, 0, 200)
    assert "the log has no durations to send" in said
    write(PLAIN[200:250] + LINES[250:400])
    code, told, said = resume()
    assert (code, told["lines"], told["rejected"], told["untimed"], told["sent"]) == (0, 200, 0, 50, 150)
    assert "format changed at byte" in said
    assert "combined → nginx" in said
    write(LINES[400:500])
    code, told, said = resume()
    assert (code, told["sent"]) == (0, 100)
    assert "format changed" not in said, "the checkpoint knows the format"


def test_a_line_or_two_in_another_format_are_read(server: Server) -> None:
    write(LINES[:100])
    resume()
    write(PLAIN[100:101])
    code, told, _ = resume()
    assert (code, told["lines"], told["rejected"], told["untimed"]) == (1, 1, 0, 1)
    write(LINES[101:102])
    code, told, _ = resume()
    assert (code, told["sent"]) == (0, 1)


def first_follow(server: Server, *options: str, expected: int) -> str:
    """The words of a first run that follows a log of 30 lines, to which 5 come."""
    write(LINES[:30])
    with following(*options, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = process.stderr.readline()
        write(LINES[30:35])
        wait_for(server, expected)
        process.terminate()
        process.communicate(timeout=20)
    return said


def test_the_first_follow_starts_at_the_end_and_says_so(here: Path, server: Server) -> None:
    said = first_follow(server, expected=5)
    assert said.endswith("access.log: first run, from its end; --from start sends what it holds already\n")
    assert len(server.lines) == 5
    code, told, _ = resume()
    assert (code, told["lines"]) == (0, 0)


@pytest.mark.parametrize(
    ("options", "expected", "words"),
    [
        (["--from", "start"], 35, "first run, from its start\n"),
        (["--from", "end"], 5, "first run, from its end\n"),
        (["--resume"], 5, "first run, from its end; --from start sends what it holds already\n"),
    ],
)
def test_where_the_first_follow_starts_can_be_given(
    options: list[str], expected: int, words: str, here: Path, server: Server
) -> None:
    assert first_follow(server, *options, expected=expected).endswith(words)
    assert len(server.lines) == expected


def test_the_first_resume_starts_at_the_start_unless_told(here: Path, server: Server) -> None:
    write(LINES[:30])
    code, told, said = resume()
    assert (code, told["sent"]) == (0, 30)
    assert "first run, from its start" in said
    (here / "state.json").unlink()
    code, told, said = resume("--from", "end")
    assert (code, told["lines"]) == (0, 0)
    assert "first run, from its end\n" in said


def test_a_truncation_that_may_have_lost_lines_is_said_unless_quiet(here: Path, server: Server) -> None:
    """Whether anything was written in between cannot be known; a loss that is known is always said."""
    for quiet in ([], ["-q"]):
        write(LINES[:10])
        resume("-q")
        Path("access.log.1").write_bytes(Path("access.log").read_bytes())
        os.truncate("access.log", 0)
        write(LINES[10:25])
        code, told, said = resume(*quiet)
        assert (code, told["sent"]) == (0, 15)
        assert ("seems to have been copied and truncated (copytruncate)" in said) is not bool(quiet)
    write(LINES[25:30])
    resume("-q")
    Path("access.log").write_bytes(b"".join(LINES[40:70]))
    Path("access.log.1").unlink()
    code, told, said = resume("-q")
    assert (code, told["sent"]) == (0, 30)
    assert "was truncated, and no copy of it is left" in said


@pytest.mark.parametrize(
    "kept",
    [5, "x", [], [1], {"name": "n"}, {"name": 1, "layout": 2, "server": "nginx", "assigned": []},
     {"name": "n", "layout": "$x", "server": "nosuch", "assigned": []},
     {"name": "n", "layout": "$x", "server": "nginx", "assigned": [[1, 2]]}],
)  # fmt: skip
def test_a_hostile_format_in_the_checkpoint_is_one_line_and_left(
    kept: object, here: Path, server: Server
) -> None:
    write(LINES[:10])
    resume("-q")
    state = json.loads((here / "state.json").read_text())
    (log,) = state["logs"].values()
    log["format"] = kept
    write(LINES[10:20])
    (here / "state.json").write_text(json.dumps(state))
    code, told, said = resume("-q")
    if kept == []:  # as if none was known
        assert (code, told["sent"]) == (0, 10)
        return
    assert code == 1
    assert said.endswith("state.json: is not a checkpoint, and is left as it is; give another path\n")
    assert json.loads((here / "state.json").read_text())["logs"][str(here / "access.log")]["format"] == kept
