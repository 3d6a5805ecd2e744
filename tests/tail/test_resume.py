"""Every line once: rotations of every kind, and each case in which a trusted shipper lost or doubled data."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resuming import Resumed, lines, numbers

from logstatsd.errors import InputError
from logstatsd.tail import reading as portions_module
from logstatsd.tail import resume as rotation
from logstatsd.tail.checkpoint import LogState
from logstatsd.tail.reading import whole_lines_bytes
from logstatsd.tail.resume import resume, start
from logstatsd.tail.rotated import LogFile

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000


@pytest.fixture
def log(tmp_path: Path) -> Resumed:
    """A log that holds the lines 1 to 5, all of them delivered."""
    log = Resumed(tmp_path)
    log.append(1, 5)
    assert log.run() == numbers(1, 5)
    return log


def older(path: Path, seconds: int) -> None:
    """Date a file back, as one that was written to long ago."""
    before = path.stat().st_mtime_ns - seconds * SECOND
    os.utime(path, ns=(before, before))


def compress(path: Path, ending: str = ".gz") -> None:
    """Compress a file as gzip, bzip2 and xz do, its time included."""
    packed = path.with_name(path.name + ending)
    packed.write_bytes({".gz": gzip, ".bz2": bz2, ".xz": lzma}[ending].compress(path.read_bytes()))
    time_ns = path.stat().st_mtime_ns
    os.utime(packed, ns=(time_ns, time_ns))
    path.unlink()


class TestOneFile:
    def test_a_run_delivers_what_was_added_since_the_last(self, log: Resumed) -> None:
        log.append(6, 7)
        assert log.run() == [6, 7]
        assert log.run() == []

    def test_a_last_line_waits_for_its_newline(self, log: Resumed) -> None:
        log.append(6, 7, end="")
        assert log.run() == [6]
        log.write("\n")
        assert log.run() == [7]

    def test_the_first_run_can_start_at_the_end(self, tmp_path: Path) -> None:
        log = Resumed(tmp_path)
        log.append(1, 5)
        log.append(6, 6, end="")
        assert log.run(at="end") == []
        log.write("\n")
        log.append(7, 7)
        assert log.run() == [6, 7]

    def test_the_end_of_an_empty_log_is_where_its_first_line_comes(self, tmp_path: Path) -> None:
        log = Resumed(tmp_path)
        log.log.touch()
        assert log.run(at="end") == []
        log.append(1, 2)
        log.rename(".1")
        log.append(3, 3)
        assert log.run(at="end") == [1, 2, 3]

    def test_the_first_run_leaves_older_generations_out(self, tmp_path: Path) -> None:
        log = Resumed(tmp_path)
        log.append(1, 2, to=".1")
        log.append(3, 4)
        assert log.run() == [3, 4]

    def test_a_log_that_never_was_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"access\.log: no such file"):
            start(str(tmp_path / "access.log"))

    def test_portions_hold_so_many_lines_and_a_crash_repeats_only_one(self, log: Resumed) -> None:
        log.append(6, 100)
        assert log.run(max_lines=10, crash_after=30) == numbers(6, 35)
        assert log.run(max_lines=10) == numbers(26, 100)

    def test_a_line_without_end_does_not_fill_the_memory(
        self, log: Resumed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(portions_module, "MAX_LINE", 1000)
        with log.log.open("ab") as file:
            file.write(b"x" * 5000)
        with resume(str(log.log), start(str(log.log))) as plan:
            assert b"".join(portion.chunk.data for portion in plan.portions()).endswith(b"x" * 5000)

    def test_nothing_new_costs_a_few_small_reads_however_long_the_log(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = Resumed(tmp_path)
        with log.log.open("wb") as file:
            file.truncate(50 << 30)
            file.seek(50 << 30)
            file.write(b"\n192.0.2.1 last 0.001\n")
        log.run(at="end")
        read: list[int] = []
        pread = os.pread
        monkeypatch.setattr(os, "pread", lambda fd, n, at: (read.append(n), pread(fd, n, at))[1])
        assert log.run() == []
        assert sum(read) < 32 << 10


class TestRotated:
    def test_the_rest_of_a_renamed_file_comes_before_the_new_one(self, log: Resumed) -> None:
        log.append(6, 7)
        log.rename(".1")
        log.append(8, 9)
        assert log.run() == [6, 7, 8, 9]
        assert log.notes == []

    def test_several_rotations_between_two_runs(self, log: Resumed) -> None:
        log.append(6, 6)
        log.rename(".3")
        for number, ending in ((7, ".2"), (8, ".1"), (9, "")):
            log.append(number, number, to=ending)
        compress(log.beside(".3"))
        compress(log.beside(".2"))
        assert log.run() == [6, 7, 8, 9]

    def test_generations_are_put_in_order_by_time_not_by_name(self, log: Resumed) -> None:
        log.rename("-b20261119")
        log.rename("-20261119", source="-b20261119")
        for age, ending in ((30, "-20261101"), (20, "-20261130"), (10, "-20261115")):
            log.append(100 - age, 100 - age, to=ending)
            older(log.beside(ending), age)
        older(log.beside("-20261119"), 40)
        log.append(99, 99)
        state = LogState(since_ns=log.beside("-20261119").stat().st_mtime_ns + 1)
        with resume(str(log.log), state) as plan:
            last = [portion.chunk.data.split()[-1] for portion in plan.portions() if portion.chunk.data]
        assert last == [b"0.070", b"0.080", b"0.090", b"0.099"]

    @pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz"])
    def test_the_rest_of_a_generation_that_was_compressed_at_once(self, log: Resumed, ending: str) -> None:
        log.append(6, 7)
        log.rename(".1")
        compress(log.beside(".1"), ending)
        log.append(8, 8)
        assert log.run() == [6, 7, 8]
        assert log.run() == []

    def test_a_generation_compressed_a_day_later_is_not_sent_again(self, log: Resumed) -> None:
        log.append(6, 7)
        log.rename(".1")
        log.append(8, 8)
        assert log.run() == [6, 7, 8]
        log.rename(".2", source=".1")
        compress(log.beside(".2"))
        log.rename(".1")
        log.append(9, 9)
        assert log.run() == [9]
        assert log.run() == []

    def test_a_compressed_generation_is_looked_into_once(
        self, log: Resumed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log.rename(".1")
        compress(log.beside(".1"))
        log.log.touch()
        assert log.run() == []
        monkeypatch.setattr(LogFile, "_decoded", lambda self: pytest.fail("decompressed again"))
        assert log.run() == []

    def test_a_compressed_file_that_is_still_being_made_is_left_alone(self, log: Resumed) -> None:
        log.append(6, 6)
        log.rename(".1")
        log.append(7, 7)
        log.beside(".1.gz").write_bytes(gzip.compress(log.beside(".1").read_bytes())[:40])
        assert log.run() == [6, 7]
        log.beside(".1.gz").unlink()
        compress(log.beside(".1"))
        assert log.run() == []

    def test_copytruncate(self, log: Resumed) -> None:
        log.append(6, 7)
        log.copytruncate(".1")
        assert log.run() == [6, 7]
        log.append(8, 20)
        assert log.run() == numbers(8, 20)
        log.append(21, 21)
        log.rename(".2", source=".1")
        log.copytruncate(".1")
        log.append(22, 60)
        assert log.run() == numbers(21, 60)
        assert log.notes == []

    def test_copytruncate_then_compressed(self, log: Resumed) -> None:
        log.append(6, 7)
        log.copytruncate(".1")
        compress(log.beside(".1"))
        log.append(8, 8)
        assert log.run() == [6, 7, 8]

    def test_a_copy_that_stays_beside_the_log_is_not_read(self, log: Resumed) -> None:
        log.append(6, 6)
        log.beside(".1").write_bytes(log.log.read_bytes())
        log.append(7, 7)
        assert log.run() == [6, 7]

    def test_a_server_that_writes_to_the_renamed_file_until_it_reopens(self, log: Resumed) -> None:
        log.rename(".1")
        log.log.touch()
        log.append(6, 6, to=".1")
        assert log.run() == [6]
        log.append(7, 7)
        assert log.run() == [7]
        log.append(8, 8, to=".1")  # a second worker reopens later
        log.append(9, 9)
        assert log.run() == [8, 9]
        log.append(10, 10, to=".1")
        compress(log.beside(".1"))
        assert log.run() == [10]

    def test_late_lines_of_a_file_that_had_none_when_it_was_rotated(self, log: Resumed) -> None:
        log.rename(".2")
        log.beside(".1").touch()
        log.append(6, 6)
        assert log.run() == [6]
        log.append(7, 7, to=".1")
        assert log.run() == [7]
        log.append(8, 8)
        assert log.run() == [8]

    def test_the_last_line_of_a_rotated_file_waits_unless_told(self, log: Resumed) -> None:
        log.append(6, 7, end="")
        log.rename(".1")
        log.append(8, 8)
        assert log.run() == [6, 8]
        assert log.run(until_eof=True) == [7]
        assert log.run() == []

    def test_a_missing_generation_is_said_and_only_once(self, log: Resumed) -> None:
        log.append(6, 6)
        log.log.unlink()
        log.append(7, 7)
        assert log.run() == [7]
        assert "what was written to it since is lost" in log.notes[0]
        assert log.run() == []
        assert log.notes == []

    def test_generations_that_are_left_when_one_is_missing_are_read(self, log: Resumed) -> None:
        log.rename(".2")
        log.append(7, 7, to=".1")
        log.append(8, 8)
        log.beside(".2").unlink()
        assert log.run() == [7, 8]

    def test_a_log_that_is_gone_for_now(self, log: Resumed) -> None:
        log.append(6, 6)
        log.rename(".1")
        assert log.run() == [6]
        log.append(7, 7)
        assert log.run() == [7]

    def test_a_log_truncated_without_a_copy_is_said(self, log: Resumed) -> None:
        log.log.write_text("")
        log.append(6, 6)
        assert log.run() == [6]
        assert "was truncated, and no copy of it is left" in log.notes[0]

    def test_a_symlink_to_dated_files(self, tmp_path: Path) -> None:
        (tmp_path / "logs").mkdir()
        log = Resumed(tmp_path)
        log.append(1, 2, to="-20261120")
        (tmp_path / "access.log-20261120").rename(tmp_path / "logs" / "access-20261120.log")
        log.log.symlink_to("logs/access-20261120.log")
        assert log.run() == [1, 2]
        with (tmp_path / "logs" / "access-20261120.log").open("a") as file:
            file.write(lines(3, 3)[0] + "\n")
        (tmp_path / "logs" / "access-20261121.log").write_text(lines(4, 4)[0] + "\n")
        log.log.unlink()
        log.log.symlink_to("logs/access-20261121.log")
        assert log.run() == [3, 4]

    def test_two_logs_that_rotate_together(self, tmp_path: Path) -> None:
        one, two = Resumed(tmp_path, "access.log"), Resumed(tmp_path, "api.access.log")
        for number, log in enumerate((one, two)):
            log.append(100 * number + 1, 100 * number + 2)
            log.run()
            log.append(100 * number + 3, 100 * number + 3)
            log.rename(".1")
            log.append(100 * number + 4, 100 * number + 4)
        assert (one.run(), two.run()) == ([3, 4], [103, 104])

    def test_a_damaged_generation_gives_what_it_can_and_says_so(self, log: Resumed) -> None:
        log.rename(".2")
        log.append(6, 500, to=".1")
        packed = gzip.compress(log.beside(".1").read_bytes())
        log.beside(".1").unlink()
        log.beside(".1.gz").write_bytes(packed[: len(packed) // 2])
        log.append(501, 501)
        delivered = log.run()
        assert delivered[0] == 6
        assert delivered[-1] == 501
        assert "cut short" in log.notes[0]

    def test_a_generation_that_cannot_be_decoded_is_said(self, log: Resumed) -> None:
        log.rename(".2")
        log.beside(".1.lz4").write_bytes(b"\x04\x22\x4d\x18 something")
        log.append(6, 6)
        assert log.run() == [6]
        assert "its lines are left out" in log.notes[0]


class TestCasesFromTheField:
    """Cases that lost or doubled data in the trusted shippers."""

    def test_reused_inode_beats_1341_vector_25079(self, log: Resumed) -> None:
        """The new file gets the inode of a removed one: the inode alone says that nothing was rotated."""
        log.rename(".1")
        log.append(6, 6, to=".1")
        compress(log.beside(".1"))
        log.append(7, 30)
        checkpoint = log.checkpoint.read_text()
        inode = '"inode": %d'
        last = checkpoint.rindex('"inode": ')
        old = checkpoint[last:].split(",")[0]
        log.checkpoint.write_text(checkpoint.replace(old, inode % log.log.stat().st_ino))
        assert log.run() == numbers(6, 30)

    def test_equal_first_lines_vector_25079(self, tmp_path: Path) -> None:
        """Two files that begin alike: a fingerprint of the first bytes takes one for the other."""
        log = Resumed(tmp_path)
        same = "\n".join(lines(1, 2) * 40) + "\n"
        log.log.write_text(same)
        log.append(3, 5)
        log.run()
        log.rename(".1")
        log.log.write_text(same)
        log.append(6, 9)
        assert log.run() == [1, 2] * 40 + [6, 7, 8, 9]

    def test_stale_checkpoint_beyond_the_end_vector_26334(self, log: Resumed) -> None:
        """The file is now shorter than the offset: reading there waits for ever, in silence."""
        log.log.write_text(lines(6, 6)[0] + "\n")
        assert log.run() == [6]
        log.append(7, 7)
        assert log.run() == [7]

    def test_all_empty_files_taken_for_one_vector_643(self, tmp_path: Path) -> None:
        """Nothing identifies an empty file: it must not become what is resumed from."""
        log = Resumed(tmp_path)
        log.append(1, 1)
        log.run()
        log.rename(".1")
        log.log.touch()
        assert log.run() == []
        log.rename(".2", source=".1")
        log.rename(".1")
        log.log.touch()
        log.append(2, 2, to=".1")
        log.append(3, 3)
        assert log.run() == [2, 3]

    def test_compressed_generations_vector_13193(self, log: Resumed) -> None:
        """The same lines under another name and in other bytes are not new; what was added to them is."""
        log.append(6, 7)
        log.rename(".1")
        log.append(8, 8)
        log.run()
        compress(log.beside(".1"))
        older(log.beside(".1.gz"), -10)
        log.rename(".1")
        log.append(9, 9)
        assert log.run() == [9]

    def test_copytruncate_sent_twice_elastic_docs_content_1998(self, log: Resumed) -> None:
        """The copy is a new file with a new inode, and every line of it was sent."""
        log.copytruncate(".1")
        log.append(6, 6)
        assert log.run() == [6]
        assert log.run() == []

    def test_a_copy_shorter_than_what_was_read(self, log: Resumed) -> None:
        """A run came between the copy and the truncate: it is further than the copy goes."""
        log.append(6, 40)
        log.run(max_lines=10)
        log.beside(".1").write_bytes(log.log.read_bytes())
        log.append(41, 45)
        assert log.run() == numbers(41, 45)
        with log.log.open("r+b") as file:
            file.truncate(0)
        log.append(46, 46)
        assert log.run() == [46]
        assert log.notes == []

    def test_offset_saved_before_the_send_logster(self, log: Resumed) -> None:
        """A run that dies after it read and before it delivered has moved nothing."""
        log.append(6, 9)
        assert log.run(crash_after=1) == numbers(6, 9)
        assert log.run() == numbers(6, 9)

    def test_position_file_broken_by_a_shorter_file_alp(self, log: Resumed) -> None:
        """After the first rotation the position is beyond the new file, and every later run reads nothing."""
        log.append(6, 30)
        log.run()
        log.rename(".1")
        log.append(31, 32)
        assert log.run() == [31, 32]
        log.append(33, 33)
        assert log.run() == [33]

    def test_a_log_that_lost_its_last_block_in_a_crash_of_the_machine(self, tmp_path: Path) -> None:
        """It goes on as it was read up to a point: from there, not from the start."""
        log = Resumed(tmp_path)
        log.append(1, 300)
        log.run(max_lines=100)
        kept = log.log.read_bytes()[:-20]
        log.log.write_bytes(kept)
        log.append(301, 301, end="\n")
        delivered = log.run()
        assert delivered[0] == 201
        assert "twice" in log.notes[0]

    def test_a_log_that_is_brought_anew_each_time_as_by_rsync(self, log: Resumed) -> None:
        """A new inode with the old lines in it, and more: only the content says that it is the same."""
        log.append(6, 8)
        log.beside(".new").write_bytes(log.log.read_bytes())
        log.rename("", source=".new")
        assert log.run() == [6, 7, 8]
        assert log.notes == []

    def test_a_writer_that_does_not_append_leaves_a_hole_after_copytruncate(self, log: Resumed) -> None:
        """Its next line comes after as many NUL bytes as were truncated."""
        with log.log.open("r+b", buffering=0) as writer:
            writer.seek(0, os.SEEK_END)
            log.copytruncate(".1")
            writer.write(f"{lines(6, 6)[0]}\n".encode())
        assert log.log.read_bytes()[0] == 0
        assert log.run() == [6]
        log.append(7, 7)
        log.rename(".2")
        log.append(8, 8)
        assert log.run() == [7, 8]


class TestRaces:
    """Changes between two system calls of a run."""

    def test_truncated_and_filled_anew_while_it_is_read(
        self, log: Resumed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log.append(6, 200)
        monkeypatch.setattr("logstatsd.tail.rotated.READ_BYTES", 4096)
        with resume(str(log.log), start(str(log.log))) as plan:
            portions = plan.portions()
            first = next(portions)
            log.copytruncate(".1")
            log.append(300, 700)
            assert list(portions) == []
        with resume(str(log.log), first.state) as plan:
            delivered = b"".join(portion.chunk.data for portion in plan.portions(max_lines=10))
        expected = "".join(line + "\n" for line in lines(1, 200) + lines(300, 700)).encode()
        assert first.chunk.data + delivered == expected

    def test_a_copy_that_copytruncate_is_still_making(self, log: Resumed) -> None:
        log.append(6, 6)
        log.rename(".2")
        log.append(7, 40)
        log.beside(".1").write_bytes(log.log.read_bytes()[:1000])
        assert log.run() == numbers(6, 40)
        log.copytruncate(".1")
        log.append(41, 41)
        assert log.run() == [41]

    def test_a_server_that_writes_to_both_files_all_the_time(
        self, log: Resumed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log.rename(".1")
        log.append(6, 6, to=".1")
        log.append(7, 7)
        monkeypatch.setattr(rotation, "log_files", self._then(lambda: log.append(8, 8, to=".1")))
        assert log.run() == [6, 7]
        assert log.run() == [8]

    def test_truncated_between_the_listing_and_the_look(
        self, log: Resumed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log.append(6, 8)
        monkeypatch.setattr(rotation, "log_files", self._then(lambda: log.copytruncate(".1")))
        assert log.run() == [6, 7, 8]
        assert log.notes == []

    def test_renamed_between_the_listing_and_the_look(
        self, log: Resumed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def rotate() -> None:
            log.rename(".1")
            log.append(9, 9)

        log.append(6, 8)
        monkeypatch.setattr(rotation, "log_files", self._then(rotate))
        assert log.run() == [6, 7, 8, 9]

    def _then(self, action):  # type: ignore[no-untyped-def]
        """`log_files`, and after its first answer the action."""
        original = rotation.log_files
        actions = [action]

        def listed(log: str) -> list[LogFile]:
            files = original(log)
            if actions:
                actions.pop()()
            return files

        return listed


@given(st.binary(max_size=60).map(lambda data: data.replace(b"a", b"\n")), st.integers(1, 5))
def test_whole_lines_are_the_most_that_are_asked_for(data: bytes, most: int) -> None:
    length = whole_lines_bytes(data, most)
    wanted = min(most, data.count(b"\n"))
    assert data[:length].count(b"\n") == wanted
    assert length == 0 or data[length - 1 : length] == b"\n"
