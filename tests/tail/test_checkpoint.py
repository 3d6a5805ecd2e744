"""The checkpoint file: never half-written, never replaced by mistake, and locked against a second run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resuming import Resumed

from logstatsd.errors import LockedError, StateError
from logstatsd.tail import checkpoint
from logstatsd.tail.checkpoint import (
    Checkpoint,
    LogState,
    PassedLines,
    Point,
    Position,
    Store,
    default_path,
    read_checkpoint,
    write_checkpoint,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

DESTINATION = "udp://127.0.0.1:8125"
counts = st.integers(0, 2**64)
offsets = st.integers(0, 2**63 - 1)
points = st.lists(st.builds(Point, offsets, st.text("0123456789abcdef", max_size=4)), max_size=2).map(tuple)
lines = st.none() | st.builds(PassedLines, counts, st.text(max_size=4), st.text(max_size=4))
positions = st.lists(
    st.builds(Position, counts, counts, counts, counts, points, st.booleans(), lines), max_size=2
).map(tuple)
states = st.builds(
    LogState,
    positions,
    counts,
    st.none() | st.dictionaries(st.text(), st.text(), max_size=2),
    st.frozensets(st.text("0123456789abcdef", min_size=20, max_size=20), max_size=3),
    st.none() | st.tuples(counts, counts),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Path of the checkpoint of a test."""
    return tmp_path / "state.json"


def saved(path: Path) -> bytes:
    """Save a checkpoint there, and give its bytes."""
    state = LogState((Position(1, 2, 3, 4, (Point(5, "6"),)),), 7, {"name": "combined"})
    write_checkpoint(path, Checkpoint(DESTINATION, {"access.log": state}))
    return path.read_bytes()


@settings(max_examples=50)
@given(st.dictionaries(st.text(), states, max_size=2))
def test_what_is_saved_is_what_is_loaded(tmp_path_factory: pytest.TempPathFactory, logs: dict) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.json"
    with mock.patch.object(checkpoint.os, "fsync"):  # a hundred syncs would take seconds
        write_checkpoint(path, Checkpoint(DESTINATION, logs))
    assert read_checkpoint(path, DESTINATION) == Checkpoint(DESTINATION, logs)


class TestWhere:
    @pytest.mark.parametrize(
        ("option", "environment", "directory"),
        [
            (
                "/given",
                {"STATE_DIRECTORY": "/systemd", "XDG_STATE_HOME": "/xdg", "HOME": "/home/me"},
                "/given",
            ),
            (None, {"STATE_DIRECTORY": "/systemd", "XDG_STATE_HOME": "/xdg", "HOME": "/home/me"}, "/systemd"),
            (None, {"STATE_DIRECTORY": "/first:/second"}, "/first"),
            (None, {"XDG_STATE_HOME": "/xdg", "HOME": "/home/me"}, "/xdg/logstatsd"),
            (None, {"HOME": "/home/me"}, "/home/me/.local/state/logstatsd"),
        ],
    )
    def test_the_state_directory(
        self, option: str | None, environment: dict[str, str], directory: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert str(default_path(option, ["access.log"], DESTINATION).parent) == directory

    def test_it_is_named_after_the_logs_and_the_destination(self, tmp_path: Path) -> None:
        def name(*logs: str, destination: str = DESTINATION) -> str:
            return default_path("/state", logs, destination).name

        assert name("/var/log/nginx/access.log").startswith("access.log-udp-127.0.0.1-8125-")
        assert name("/a/access.log", "/b/access.log") == name("/b/access.log", "/a/access.log")
        others = {
            name("/a/access.log"),
            name("/b/access.log"),
            name("/a/access.log", destination="udp://b:1"),
        }
        assert len(others) == 3

    def test_odd_names_give_a_plain_file_name(self) -> None:
        path = default_path("/state", ["/var/log/a b\udcff/" + "x" * 300], "unix:///run/a/../b.sock")
        assert path.parent == Path("/state")
        assert len(path.name) < 120


class TestRefused:
    @pytest.mark.parametrize(
        "content",
        [
            b"an access log\n", b"{}", b"[]", b"null", b'{"kind": "something else"}', b"\xff", b"[" * 100_000,
            b'{"kind": "logstatsd checkpoint", "version": 1}',
            b'{"kind": "logstatsd checkpoint", "version": 1, "destination": "d", "logs": {"a": {}}}',
            (b'{"kind": "logstatsd checkpoint", "version": 1, "destination": "d", "logs": {"a": '
            b'{"positions": [{"device":1,"inode":1,"size":1,"mtime_ns":1,"points":[[-1,""]],"done":false}],'
            b'"since_ns": 0, "format": null}}}'),
        ],
    )  # fmt: skip
    def test_a_file_that_is_not_a_checkpoint_is_left_as_it_is(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        with (
            pytest.raises(StateError, match="is not a checkpoint, and is left as it is"),
            Store(path, DESTINATION),
        ):
            pass
        assert path.read_bytes() == content
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize("content", [b"", b"\0" * 512, b"\n"])
    def test_blank_state_after_power_loss_beats_3537(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        with pytest.raises(StateError, match="is blank, so where the last run stopped is lost; remove it"):
            read_checkpoint(path, DESTINATION)
        assert path.read_bytes() == content

    def test_a_newer_version(self, path: Path) -> None:
        path.write_bytes(saved(path).replace(b'"version": 1', b'"version": 2'))
        with pytest.raises(StateError, match="newer logstatsd"):
            read_checkpoint(path, DESTINATION)

    def test_another_destination(self, path: Path) -> None:
        saved(path)
        with pytest.raises(
            StateError, match=r"is for udp://127\.0\.0\.1:8125, not for unix:///run/dsd\.sock"
        ):
            read_checkpoint(path, "unix:///run/dsd.sock")

    def test_a_directory(self, path: Path) -> None:
        path.mkdir()
        with pytest.raises(StateError, match="Is a directory"):
            read_checkpoint(path, DESTINATION)


class TestDurable:
    def test_content_is_on_disk_before_the_name_and_the_name_before_the_end(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever order a power loss reveals, the name leads to whole content (beats#3537)."""
        happened: list[str] = []
        fsync, replace = os.fsync, Path.replace

        def noted_fsync(fd: int) -> None:
            happened.append("sync " + Path(f"/proc/self/fd/{fd}").readlink().name)
            fsync(fd)

        def noted_replace(self: Path, target: Path) -> Path:
            happened.append(f"rename {self.name} to {target.name}")
            return replace(self, target)

        monkeypatch.setattr(os, "fsync", noted_fsync)
        monkeypatch.setattr(Path, "replace", noted_replace)
        saved(path)
        happened = [re.sub(r"\.state\.json\.[0-9a-f]{16}\.tmp", "TMP", one) for one in happened]
        assert happened == ["sync TMP", "rename TMP to state.json", f"sync {path.parent.name}"]

    def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(self, path: Path) -> None:
        program = (
            "import sys; from pathlib import Path; from logstatsd.tail.checkpoint import *\n"
            "n = 0\n"
            "while True:\n"
            "    n += 1\n"
            "    state = LogState((), n, 'x' * 100_000)\n"
            "    write_checkpoint(Path(sys.argv[1]), Checkpoint('d', {'log': state}))\n"
            "    if n == 1: print(flush=True)\n"
        )
        for _ in range(5):
            with subprocess.Popen(
                [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE
            ) as process:
                process.stdout.readline()
                process.send_signal(signal.SIGKILL)
            assert read_checkpoint(path, "d").logs["log"].format == "x" * 100_000

    def test_a_full_disk(self, small_disk: Path) -> None:
        path = small_disk / "state.json"
        before = saved(path)
        with (small_disk / "filler").open("wb") as filler, pytest.raises(OSError, match="No space"):
            filler.write(b"x" * (1 << 20))
        with pytest.raises(
            StateError, match=r"cannot be kept here: No space left on device; free some space"
        ):
            write_checkpoint(path, Checkpoint(DESTINATION, {"log": LogState((), 0, "x" * 50_000)}))
        assert path.read_bytes() == before
        assert [file.name for file in small_disk.glob(".*.tmp")] == []

    def test_a_disk_that_fills_up_repeats_one_batch_at_most(self, small_disk: Path, tmp_path: Path) -> None:
        log = Resumed(tmp_path)
        log.checkpoint = small_disk / "state.json"
        log.append(1, 30)
        assert len(log.run(max_lines=10)) == 30
        log.append(31, 60)
        filler = (small_disk / "filler").open("wb")
        with filler, pytest.raises(OSError, match="No space"):
            filler.write(b"x" * (1 << 20))
        with pytest.raises(StateError, match="free some space"):
            log.run(max_lines=10)
        (small_disk / "filler").unlink()
        assert log.run(max_lines=10) == list(range(31, 61))

    def test_a_read_only_directory_is_found_before_anything_is_read(self, small_disk: Path) -> None:
        before = saved(small_disk / "state.json")
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
        for path in (small_disk / "state.json", small_disk / "new" / "state.json"):
            with (
                pytest.raises(StateError, match="Read-only file system; give --state-dir"),
                Store(path, DESTINATION),
            ):
                pytest.fail("it was opened")
        assert (small_disk / "state.json").read_bytes() == before

    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        """A file system of 64 KiB."""
        directory = tmp_path / "disk"
        directory.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", directory], check=False)
        if mounted.returncode:
            pytest.skip("mounting a small file system needs root")
        yield directory
        subprocess.run(["umount", directory], check=True)


HOLDER = (
    "import os, sys, time; from logstatsd.tail.checkpoint import Store\n"
    "with Store(sys.argv[1], sys.argv[2], wait='wait' in sys.argv):\n"
    "    if 'fork' in sys.argv and os.fork() == 0:\n"
    "        os.write(1, b'held\\n'); time.sleep(60); os._exit(0)\n"
    "    if 'fork' not in sys.argv: os.write(1, b'held\\n')\n"
    "    sys.stdin.read()\n"
)


class TestLock:
    @contextmanager
    def holder(self, path: Path, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
        """Another process that holds the lock until its stdin is closed."""
        command = [sys.executable, "-c", HOLDER, str(path), DESTINATION, *flags]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            yield process
            process.kill()

    def test_a_second_run_ends_at_once(self, path: Path) -> None:
        with self.holder(path) as process:
            process.stdout.readline()
            with (
                pytest.raises(LockedError, match="another run holds it; --wait") as caught,
                Store(path, DESTINATION),
            ):
                pass
        assert caught.value.exit_code == 5

    def test_the_lock_outlives_the_replacement_of_the_file(self, path: Path) -> None:
        with Store(path, DESTINATION) as store:
            store.save(store.checkpoint)
            with pytest.raises(LockedError), Store(path, DESTINATION):
                pass
        with Store(path, DESTINATION):
            pass

    def test_it_can_wait(self, path: Path) -> None:
        with Store(path, DESTINATION):
            waiting = self.holder(path, "wait")
            process = waiting.__enter__()
            assert process.poll() is None
        assert process.stdout.readline() == b"held\n"
        process.stdin.close()
        assert process.wait() == 0
        waiting.__exit__(None, None, None)

    def test_a_killed_run_frees_it(self, path: Path) -> None:
        with self.holder(path) as process:
            process.stdout.readline()
            process.kill()
            process.wait()
            with Store(path, DESTINATION):
                pass

    def test_a_worker_that_outlives_a_killed_run_does_not_keep_it(self, path: Path) -> None:
        with self.holder(path, "fork") as process:
            process.stdout.readline()
            process.kill()
            process.wait()
            with Store(path, DESTINATION):
                pass
            process.stdout.close()

    def test_an_error_inside_frees_it(self, path: Path) -> None:
        path.write_text("not a checkpoint")
        for _ in range(2):
            with pytest.raises(StateError), Store(path, DESTINATION):
                pass
        assert json.loads(saved(path))["kind"] == checkpoint.KIND
