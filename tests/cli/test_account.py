"""Every way in which a replay ends tells what became of each line and timing, in sums that are right."""

from __future__ import annotations

import errno
import fcntl
import gzip
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sample
from command import invoke, run
from places import SAMPLE_LOGS
from receivers import receiving
from servers import free_port

from logstatsd.cli import sender as senders
from logstatsd.engine import processes
from logstatsd.errors import FormatError, InputError, StateError
from logstatsd.routing.snapshot import dump_snapshot
from logstatsd.tail.checkpoint import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from receivers import Inbox

LINES = (SAMPLE_LOGS / "nginx.log").read_bytes().splitlines(keepends=True)
REPLAY = ["replay", "access.log", "--routes", "routes.json", "--json"]
RESUMED = ["--checkpoint", "state.json"]
MODES = pytest.mark.parametrize("mode", [[], RESUMED], ids=["once", "resumed"])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log that is read in several portions."""
    monkeypatch.chdir(tmp_path)
    Path("routes.json").write_text(dump_snapshot(sample.loaded().snapshot()))
    Path("access.log").write_bytes(b"".join(LINES * 8))
    return tmp_path


@pytest.fixture
def inbox(here: Path) -> Iterator[Inbox]:
    with receiving("unixgram", directory=here) as inbox:
        yield inbox


def to(inbox: Inbox) -> list[str]:
    return ["--socket", str(inbox.address)]


def account(stdout: str) -> dict[str, Any]:
    """The JSON, whose sums are right."""
    [line] = stdout.splitlines()
    told: dict[str, Any] = json.loads(line)
    assert told["due"] == told["sent"] + told["dropped"] + told["unconfirmed"]
    assert told["lines"] == told["parsed"] + told["rejected"] + told["outside"]
    assert min(told[name] for name in ("due", "sent", "dropped", "unconfirmed", "parsed")) >= 0
    return told


def failing(*options: object, code: int | None = None) -> tuple[int, dict[str, Any], str]:
    done = invoke(*REPLAY, *options, code=code)
    assert "Traceback" not in done.output
    return done.exit_code, account(done.stdout), done.stderr


def after_the_first(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Have something happen before the second portion is sent."""
    send, calls = senders.Sender.send, []

    def sending(self: senders.Sender, batch: Any) -> None:
        calls.append(batch)
        if len(calls) == 2:
            happens()
        send(self, batch)

    monkeypatch.setattr(senders.Sender, "send", sending)


def raising(error: BaseException) -> Callable[[], object]:
    def happens() -> None:
        raise error

    return happens


@MODES
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("access.log: was replaced while it was read; run again"), 1),
        (FormatError("access.log: the log has no times"), 1),
        (processes.WorkerError("a worker process was killed"), 1),
        (OSError(errno.ENOSPC, "No space left on device"), 1),
        (MemoryError(), 1),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.parametrize("quiet", [[], ["-q"]], ids=["told", "quiet"])
def test_what_fails_midway_is_told_with_what_was_sent(
    error: BaseException,
    code: int,
    mode: list[str],
    quiet: list[str],
    inbox: Inbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    after_the_first(monkeypatch, raising(error))
    found, told, said = failing(*to(inbox), *mode, *quiet)
    assert (found, told["lines"]) == (code, 10_000)
    assert told["sent"] > 0
    assert f"{told['sent'] + told['unconfirmed']:,} timings sent to" in said, "also when quiet"
    if isinstance(error, (InputError, FormatError)):
        assert (told["sent"], told["dropped"], told["unconfirmed"]) == (10_000, 0, 0)


@MODES
def test_a_real_signal_midway_is_told(mode: list[str], inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    after_the_first(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGTERM))
    code, told, _ = failing(*to(inbox), *mode)
    # A resumed run ends after what is at hand.
    assert (code, told["lines"] > 10_000) == (143, bool(mode))


def test_a_second_signal_ends_a_resumed_run_at_once_and_is_told(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    after_the_first(monkeypatch, twice)
    code, told, _ = failing(*to(inbox), *RESUMED)
    assert (code, told["lines"], told["sent"]) == (143, 10_000, 10_000)


def test_a_log_that_goes_while_another_is_read_is_told(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("access.log").write_bytes(b"".join(LINES))
    Path("b.log").write_bytes(b"".join(LINES))
    Path("c.log").write_bytes(b"".join(LINES))
    after_the_first(monkeypatch, Path("c.log").unlink)
    done = invoke("replay", "access.log", "b.log", "c.log", *REPLAY[2:], *to(inbox), code=1)
    told = account(done.stdout)
    assert (told["sent"], told["due"]) == (2 * len(LINES), 2 * len(LINES))
    assert "c.log" in done.stderr


def test_a_worker_that_is_killed_is_told(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{n}.log" for n in range(4)]
    for name in names:
        Path(name).write_bytes(b"".join(LINES))
    do, calls = processes._Worker.do, []

    def doing(worker: Any, task: Any) -> Any:
        calls.append(task)
        if len(calls) == 3:
            worker._process.kill()
            worker._process.wait()
        return do(worker, task)

    monkeypatch.setattr(processes._Worker, "do", doing)
    where = to(inbox)
    done = invoke("replay", *names, *REPLAY[2:], *where, "--engine", "processes", "--jobs", "1", code=1)
    told = account(done.stdout)
    assert (told["sent"], told["due"]) == (2 * len(LINES), 2 * len(LINES))
    assert "was killed by SIGKILL" in done.stderr


@MODES
@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--app", "nowhere:app"], 1),
        (["--routes", "missing.json"], 1),
        (["--host", "127.0.0.1", "--port", "CLOSED"], 3),
        (["--host", "nowhere.invalid"], 3),
        (["--socket", "missing.sock"], 3),
        (["--log-format", "%h %s %D"], 1),
    ],
    ids=str,
)
def test_a_run_that_never_sends_has_an_account_of_nothing_sent(
    options: list[str], code: int, mode: list[str], inbox: Inbox
) -> None:
    port = str(free_port(2))
    options = [port if each == "CLOSED" else each for each in options]
    routes = [] if options[0] in ("--app", "--routes") else ["--routes", "routes.json"]
    where = to(inbox) if options[0] not in ("--host", "--socket") else []
    done = invoke("replay", "access.log", "--json", *routes, *where, *options, *mode, code=code)
    told = account(done.stdout)
    assert (told["due"], told["sent"]) == (0, 0)
    assert done.stderr.splitlines()[-1].startswith("logstatsd: ")


def test_a_second_log_that_is_missing_has_an_account(inbox: Inbox) -> None:
    done = invoke("replay", "access.log", "missing.log", *REPLAY[2:], *to(inbox), code=1)
    assert account(done.stdout)["due"] == 0
    assert not inbox.datagrams


@MODES
def test_a_server_that_goes_is_told(mode: list[str], here: Path) -> None:
    with receiving("unixgram", directory=here) as inbox:
        pass
    Path(inbox.address).unlink()  # type: ignore[arg-type]
    code, told, _ = failing(*to(inbox), *mode)
    assert (code, told["due"]) == (3, 0)


@MODES
def test_rejected_lines_are_said_also_when_quiet(mode: list[str], inbox: Inbox) -> None:
    Path("access.log").write_bytes(b"".join([*LINES, b"garbage\n"]))
    code, told, said = failing(*to(inbox), *mode, "-q")
    assert (code, told["rejected"], told["sent"]) == (0, 1, len(LINES))
    assert said.splitlines() == ["1 of 3,001 lines rejected: no match 1", "  no match: garbage"]


@MODES
def test_more_rejected_than_allowed_is_told_with_all_lines(mode: list[str], inbox: Inbox) -> None:
    Path("access.log").write_bytes(b"".join([*LINES[:100], b"garbage\n" * 300]))
    code, told, said = failing(*to(inbox), *mode, "-q")
    assert (code, told["lines"], told["rejected"]) == (1, 400, 300)
    assert "300 of 400 lines rejected: no match 300" in said
    assert told["sent"] == (0 if mode else 100)


def test_damage_is_said_also_when_quiet(inbox: Inbox) -> None:
    Path("access.log.gz").write_bytes(gzip.compress(b"".join(LINES * 8))[:-20_000])
    done = invoke("replay", "access.log.gz", *REPLAY[2:], *to(inbox), "-q", code=None)
    assert account(done.stdout)["sent"] > 0
    assert "access.log.gz" in done.stderr


@MODES
def test_on_a_full_disk_the_account_goes_to_stderr(mode: list[str], inbox: Inbox) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(*REPLAY, *to(inbox), *mode, "-q", code=1, stdout=full, stderr=-1, capture_output=False)
    told = account(done.stderr.splitlines()[0])
    assert (told["sent"], told["due"]) == (8 * len(LINES), 8 * len(LINES))
    assert done.stderr.splitlines()[-1].startswith("logstatsd: stdout: No space left")


def test_a_checkpoint_that_cannot_be_saved_is_said_to_send_again(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("access.log").write_bytes(b"".join(LINES[:10]))
    invoke(*REPLAY, *to(inbox), *RESUMED)
    with Path("access.log").open("ab") as log:
        log.writelines(LINES[10:30])
    full = raising(StateError("state.json: cannot be saved"))
    flush = senders.Sender.flush

    def flushing(self: senders.Sender) -> None:
        flush(self)
        monkeypatch.setattr(Store, "save", lambda *_: full())

    monkeypatch.setattr(senders.Sender, "flush", flushing)
    code, told, said = failing(*to(inbox), *RESUMED, "-q")
    assert (code, told["sent"]) == (1, 20)
    assert "the checkpoint stays before the last 20 timings: the next run sends them again" in said


def test_a_run_that_waits_for_no_other_has_an_account(inbox: Inbox) -> None:
    invoke(*REPLAY, *to(inbox), *RESUMED)
    [lock] = Path().glob("*.lock")
    with lock.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code, told, _ = failing(*to(inbox), *RESUMED)
    assert (code, told["due"]) == (5, 0)
