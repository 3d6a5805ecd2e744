"""The files of a log as they are listed and opened, while a rotation goes on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from logstatsd.errors import InputError
from logstatsd.tail.rotated import (
    Fingerprint,
    LogFile,
    OvertakenError,
    close_all,
    confirm,
    is_rotated,
    log_files,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINES = b"one\ntwo\nthree\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.write_bytes(LINES)
    return path


@pytest.fixture
def listed(log: Path) -> Iterator[LogFile]:
    """The live file, as it was listed; not open yet."""
    (file,) = log_files(str(log))
    yield file
    file.close()


# --- which files there are --------------------------------------------------------------------------------


GENERATIONS = """
access.log.1 access.log.2.gz access.log.0.bz2 access.log.1.zst access.1.log access.log.old
access.log-20261120 access.log-20261120.xz access-20261120.log access_20261120.log
access.log-20261120-1795355531
access.log.2026-11-20.gz access.log-2026-11-20T10:00:00 access.log-1700000000 access.2026-11-20.log
"""
OTHERS = """
access.log access.log.gz api.access.log api.access.log.1 access.log.lock access.log.offset access.log.1.tmp
access-2.log access-api.log error.log.1 access.log.swp access.logs access.log.d access.log.1.2.json
"""


@pytest.mark.parametrize("name", GENERATIONS.split())
def test_a_rotated_file_is_known_by_its_name(name: str) -> None:
    assert is_rotated(name, "access.log")


@pytest.mark.parametrize("name", OTHERS.split())
def test_another_file_is_known_by_its_name(name: str) -> None:
    assert not is_rotated(name, "access.log")


def test_files_are_listed_from_the_oldest_to_the_live_one(log: Path) -> None:
    for age, name in enumerate(["access.log.2.gz", "access.log.1"]):
        (log.parent / name).write_bytes(b"x")
        os.utime(log.parent / name, ns=(age, age))
    (log.parent / "access.log.3").mkdir()
    assert [file.path.name for file in log_files(str(log))] == [
        "access.log.2.gz",
        "access.log.1",
        "access.log",
    ]


def test_a_file_that_is_being_compressed_is_not_there_yet(log: Path) -> None:
    for name in ("access.log.1", "access.log.1.gz"):
        (log.parent / name).write_bytes(b"x")
    assert [file.path.name for file in log_files(str(log))] == ["access.log.1", "access.log"]


def test_a_folder_that_is_not_there_has_no_files_and_one_that_cannot_be_listed_says_so(
    tmp_path: Path,
) -> None:
    assert log_files(str(tmp_path / "nowhere" / "access.log")) == []
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Not a directory"):
        log_files(str(tmp_path / "file" / "access.log"))


# --- a rotation in between --------------------------------------------------------------------------------


def test_a_file_that_is_removed_before_it_is_opened_makes_us_look_again(listed: LogFile, log: Path) -> None:
    log.unlink()
    with pytest.raises(OvertakenError):
        _ = listed.fd


def test_a_file_whose_name_is_another_ones_by_now_makes_us_look_again(listed: LogFile, log: Path) -> None:
    log.rename(log.with_suffix(".log.1"))
    log.write_bytes(LINES)
    with pytest.raises(OvertakenError):
        _ = listed.fd


def test_an_open_file_is_read_on_under_whatever_name_it_has(listed: LogFile, log: Path) -> None:
    assert listed.kind
    log.unlink()
    assert b"".join(listed.blocks(Fingerprint(0, b""))) == LINES


def test_a_file_that_is_truncated_while_it_is_read_makes_us_look_again(listed: LogFile, log: Path) -> None:
    assert listed.is_readable
    log.write_bytes(b"")
    with pytest.raises(OvertakenError):
        list(listed.blocks(Fingerprint(0, b"")))


@pytest.mark.parametrize("change", ["comes", "goes", "shrinks", "is replaced"])
def test_a_listing_is_confirmed_unless_a_file(change: str, log: Path) -> None:
    files = log_files(str(log))
    confirm(str(log), files)
    rotated = log.with_suffix(".log.1")
    match change:
        case "comes":
            rotated.write_bytes(LINES)
        case "goes":
            log.unlink()
        case "shrinks":
            log.write_bytes(b"one\n")
        case "is replaced":
            log.rename(log.parent / "away")
            log.write_bytes(LINES)
    with pytest.raises(OvertakenError):
        confirm(str(log), files)
    close_all(files)


# --- where lines begin ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "offset"), [(b"", 0), (b"one", 0), (LINES, len(LINES)), (LINES + b"not yet", len(LINES))]
)
def test_the_last_line_ends_after_its_newline(content: bytes, offset: int, log: Path) -> None:
    log.write_bytes(content)
    (file,) = log_files(str(log))
    assert file.last_line_end().offset == offset
    file.close()


@pytest.mark.parametrize("hole", [0, 1, 5_000, 1 << 20])
def test_lines_begin_past_the_hole_that_a_writer_leaves_which_does_not_append(hole: int, log: Path) -> None:
    with log.open("wb") as file:
        file.truncate(hole)
        file.seek(hole)
        file.write(LINES)
    (listed,) = log_files(str(log))
    assert listed.beginning().offset == hole
    listed.close()


def test_a_file_of_nothing_but_a_hole_has_no_line(log: Path) -> None:
    os.truncate(log, 0)
    os.truncate(log, 10_000)
    (listed,) = log_files(str(log))
    assert listed.beginning() == Fingerprint(0, b"")
    listed.close()
