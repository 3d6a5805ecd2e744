"""The files of the state: their owner's alone, and no link is followed on the way to them."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from logstatsd.errors import StateError
from logstatsd.tail import private
from logstatsd.tail.checkpoint import Checkpoint, LogState, Point, Position, Store, write_checkpoint

DESTINATION = "udp://127.0.0.1:8125"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the checkpoint of a test is."""
    return tmp_path / "state.json"


def opened(path: Path) -> None:
    """Open a checkpoint as a run does, and close it."""
    with Store(path, DESTINATION):
        pass


def mode(path: Path) -> int:
    """The permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_modes_are_the_owner_s_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "a" / "b" / "state.json"
    before = os.umask(umask)
    try:
        opened(path)
        opened(path)
    finally:
        os.umask(before)
    assert [mode(folder) for folder in (path.parent, path.parent.parent)] == [0o700, 0o700]
    assert {file.name: mode(file) for file in path.parent.iterdir()} == {
        "state.json": 0o600,
        "state.json.lock": 0o600,
    }


def test_a_folder_that_was_there_keeps_its_mode(path: Path) -> None:
    path.parent.chmod(0o755)
    opened(path)
    assert mode(path.parent) == 0o755


@pytest.mark.parametrize("ending", ["", ".lock"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_in_the_place_of_a_file_is_refused_and_left(path: Path, ending: str, exists: bool) -> None:
    victim, link = path.with_name("victim"), path.with_name(path.name + ending)
    if exists:
        victim.write_text("precious")
        victim.chmod(0o644)
    link.symlink_to(victim)
    with pytest.raises(StateError) as caught:
        opened(path)
    assert str(caught.value).count("\n") == 0
    assert link.readlink() == victim
    assert victim.exists() is exists
    if exists:
        assert (victim.read_text(), mode(victim)) == ("precious", 0o644)


def test_a_link_at_the_old_temporary_name_is_not_written_through(path: Path) -> None:
    victim = path.with_name("victim")
    victim.write_text("precious")
    path.with_name("state.json.tmp").symlink_to(victim)
    opened(path)
    assert victim.read_text() == "precious"
    assert not path.is_symlink()


def test_temporary_names_cannot_be_told_in_advance(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    replace = Path.replace

    def noted(self: Path, target: Path) -> Path:
        seen.append(self.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noted)
    for _ in range(5):
        write_checkpoint(path, Checkpoint(DESTINATION, {}))
    assert len(set(seen)) == 5


def test_a_temporary_name_that_is_taken_is_not_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = path.with_name("victim")
    victim.write_text("precious")
    path.with_name(".state.json.00.tmp").symlink_to(victim)
    monkeypatch.setattr(private.secrets, "token_hex", lambda _: "00")
    with pytest.raises(StateError, match="File exists"):
        write_checkpoint(path, Checkpoint(DESTINATION, {}))
    assert victim.read_text() == "precious"


def test_what_a_killed_run_left_is_removed_and_nothing_else(path: Path) -> None:
    others = [".state.json.tmp", ".state.json.0123.tmp", "state.json.0123456789abcdef.tmp", ".x.json.tmp"]
    for name in [*others, ".state.json.0123456789abcdef.tmp"]:
        path.with_name(name).touch()
    opened(path)
    assert {file.name for file in path.parent.iterdir()} == {*others, "state.json", "state.json.lock"}


@pytest.mark.parametrize("ending", ["", ".lock"])
def test_a_pipe_or_a_folder_in_the_place_of_a_file_is_refused_at_once(path: Path, ending: str) -> None:
    at = path.with_name(path.name + ending)
    for make in (os.mkfifo, os.mkdir):
        make(at)
        with pytest.raises(StateError, match=r"left as it is|Is a directory"):
            opened(path)
        at.unlink() if make is os.mkfifo else at.rmdir()


def good() -> dict:
    """What a checkpoint holds, as data."""
    position = Position(1, 2, 3, 4, (Point(5, "6"),))._asdict()
    log = {"positions": [{**position, "lines": None}], "since_ns": 0, "format": None}
    return {"kind": "logstatsd checkpoint", "version": 1, "destination": DESTINATION, "logs": {"a": log}}


def changed(*keys: object, value: object) -> str:
    """A checkpoint with one value exchanged."""
    data = good()
    place = data
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    return json.dumps(data)


FIRST = ("logs", "a", "positions", 0)
WRONG = [None, "1", 1.5, float("nan"), float("inf"), -(10**30), 10**30, [], {}, True]
HOSTILE = [
    *(changed(*FIRST, key, value=value) for key in ("device", "size", "mtime_ns") for value in WRONG),
    *(changed(*FIRST, "points", value=[[value, "6"]]) for value in [*WRONG, -1, 1 << 63]),
    *(changed(*FIRST, "points", value=value) for value in [None, 1, ["ab"], [[1]], [[1, 2]], "x", {"a": 1}]),
    *(changed(*FIRST, "lines", value=value) for value in [1, "x", {"total": "x"}, [1, 2, 3]]),
    *(changed("logs", "a", "since_ns", value=value) for value in WRONG),
    *(changed("logs", "a", "known", value=value) for value in [1, ["x"]]),
    *(changed("logs", "a", "truncated", value=value) for value in [1, [1], "xy", [1.5, 2]]),
    *(changed("logs", "a", "positions", value=value) for value in [None, 1, "x", {"a": 1}, [1]]),
    *(changed("logs", value=value) for value in [None, 1, "x", [], {"a": None}, {"a": []}]),
    *(changed("version", value=value) for value in WRONG),
    *(changed("destination", value=value) for value in [None, 1, [], {}]),
    '{"kind": "logstatsd checkpoint", "version": 1e999}',
    '{"kind": "logstatsd checkpoint", "version": ' + "9" * 6000 + "}",
    '{"kind":' * 200_000,
    "[" * 1_000_000,
]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_checkpoint_is_one_line_and_left_as_it_is(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(StateError, match="is not a checkpoint, and is left as it is; give another") as caught:
        opened(path)
    assert str(caught.value).count("\n") == 0
    assert len(str(caught.value)) < 500
    assert path.read_text() == content
    assert list(path.parent.iterdir()) == [path]


def test_the_checkpoint_that_these_are_made_from_is_taken(path: Path) -> None:
    path.write_text(json.dumps(good()))
    opened(path)


def test_a_huge_one_is_refused_without_being_read(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"[")
        file.truncate(1 << 30)
    with pytest.raises(StateError, match="more than 16 MiB"):
        opened(path)
    assert path.stat().st_size == 1 << 30


def test_a_newer_one_is_left_as_it_is(path: Path) -> None:
    path.write_text(changed("version", value=2))
    with pytest.raises(StateError, match="newer logstatsd"):
        opened(path)


def test_a_destination_is_told_without_its_control_characters(path: Path) -> None:
    path.write_text(changed("destination", value="udp\n\x1b[2J"))
    with pytest.raises(StateError, match=r"is for udp\\n\\x1b\[2J, not for"):
        opened(path)


def test_positions_of_a_huge_offset_find_nothing_and_break_nothing(path: Path, tmp_path: Path) -> None:
    from logstatsd.tail.resume import resume

    log = tmp_path / "access.log"
    log.write_text("a line\n")
    status = log.stat()
    huge = Position(status.st_dev, status.st_ino, 1, 1, (Point(5, "6"), Point((1 << 63) - 1, "7")))
    with resume(str(log), LogState((huge,))) as reading:
        assert [portion.chunk.data for portion in reading.portions() if portion.chunk.data] == [b"a line\n"]
