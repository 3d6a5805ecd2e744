"""Files are told by their content: truncated under a reader's hands, made anonymous, or merely touched."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest
from resuming import Resumed, lines, numbers

from logstatsd.tail.lines import is_sketched, sketch
from logstatsd.tail.resume import resume, start

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000


class TestTruncatedAndFilledAgain:
    """copytruncate, and then as many bytes as before, or more."""

    @pytest.mark.parametrize("more", [0, 1, 150])
    def test_between_the_plan_and_the_first_read(self, tmp_path: Path, more: int) -> None:
        log = Resumed(tmp_path)
        log.append(101, 200)

        def refill() -> None:
            with log.log.open("r+b") as file:
                file.truncate(0)
            log.append(300, 399 + more)

        # The copy is there already when the files are listed, as logrotate's copy is before it truncates.
        state = start(str(log.log))
        log.beside(".1").write_bytes(log.log.read_bytes())
        delivered: list[bytes] = []
        for happen in (refill, lambda: None):
            with resume(str(log.log), state) as reading:
                happen()
                for portion in reading.portions():
                    delivered += portion.chunk.data.splitlines()
                state = reading.state
        assert [int(line[-3:]) for line in delivered] == [*numbers(101, 200), *numbers(300, 399 + more)]

    @pytest.mark.parametrize("more", [0, 1, 150])
    def test_between_two_runs(self, tmp_path: Path, more: int) -> None:
        log = Resumed(tmp_path)
        log.append(101, 200)
        assert log.run() == numbers(101, 200)
        log.append(201, 210)
        log.copytruncate(".1")
        log.append(301, 410 + more)
        assert log.run() == [*numbers(201, 210), *numbers(301, 410 + more)]
        assert log.notes == []
        assert len(log.remarks) == 1
        assert (
            "seems to have been copied and truncated (copytruncate): what was written between a copy"
            in log.remarks[0]
        )
        assert log.run() == []
        assert log.remarks == []

    def test_without_a_copy_it_is_said(self, tmp_path: Path) -> None:
        log = Resumed(tmp_path)
        log.append(101, 200)
        log.run()
        log.log.write_text("")
        log.append(301, 450)
        assert log.run() == numbers(301, 450)
        assert "was truncated, and no copy of it is left" in log.notes[0]

    def test_a_copy_that_lacks_what_was_read_is_said(self, tmp_path: Path) -> None:
        log = Resumed(tmp_path)
        log.append(101, 200)
        log.run(max_lines=10)
        log.beside(".1").write_bytes(b"".join(log.log.read_bytes().splitlines(keepends=True)[:50]))
        log.log.write_text("")
        log.append(301, 450)
        assert log.run() == numbers(301, 450)
        assert "what was written to it in between is lost (copytruncate)" in log.notes[0]

    def test_a_copy_that_ends_within_a_line_is_said(self, tmp_path: Path) -> None:
        log = Resumed(tmp_path)
        log.append(101, 110)
        log.run()
        log.append(111, 112)
        log.beside(".1").write_bytes(log.log.read_bytes()[:-5])
        log.log.write_text("")
        log.append(301, 302)
        assert log.run() == [111, 301, 302]
        assert "the copy ends within a line: what was written in between is lost" in log.notes[0]

    def test_a_copy_smaller_than_the_log_was_at_the_last_look_is_said(self, tmp_path: Path) -> None:
        log = Resumed(tmp_path)
        log.append(101, 110)
        log.append(111, 111, end="")
        assert log.run() == numbers(101, 110)
        log.beside(".1").write_bytes(b"".join(log.log.read_bytes().splitlines(keepends=True)[:10]))
        log.log.write_text("")
        log.append(301, 302)
        assert log.run() == [301, 302]
        assert "the copy is smaller than the log was then: what was written" in log.notes[0]

    def test_a_run_that_goes_on_in_a_copy_remembers_that_the_log_is_truncated(self, tmp_path: Path) -> None:
        log = Resumed(tmp_path)
        log.append(101, 110)
        log.run()
        for first, copy in ((111, ".2"), (121, ".1")):
            log.append(first, first + 9)
            log.copytruncate(copy)
        log.append(131, 140)
        assert log.run(max_lines=5, crash_after=5) == numbers(111, 115)
        assert log.run(max_lines=5, crash_after=10) == numbers(111, 120)
        assert log.run(max_lines=5) == numbers(116, 140)
        assert len(log.remarks) == 1

    def test_it_is_said_also_where_the_copy_is_gone(self, tmp_path: Path) -> None:
        log = Resumed(tmp_path)
        log.append(101, 110)
        log.run()
        for first, copy in ((111, ".2"), (121, ".1")):
            log.append(first, first + 9)
            log.copytruncate(copy)
        log.append(131, 140)
        assert log.run(max_lines=5, crash_after=10) == numbers(111, 120)
        log.beside(".2").unlink()
        assert log.run(max_lines=5) == numbers(121, 140)
        assert "is gone, and so is every copy of it" in log.notes[0]
        assert "seems to have been copied and truncated (copytruncate)" in log.remarks[0]


class TestEdited:
    @pytest.mark.parametrize("anew", [True, False])
    @pytest.mark.parametrize("address", ["192.0.2.0", "x", "2001:db8::1"])
    @pytest.mark.parametrize("packed", [True, False])
    def test_addresses_made_anonymous_are_not_sent_again(
        self, tmp_path: Path, anew: bool, address: str, packed: bool
    ) -> None:
        """The file in which reading stopped, with lines that were not read yet."""
        log = Resumed(tmp_path)
        log.append(101, 900)
        log.run(max_lines=100)
        log.append(901, 910)
        log.rename(".1")
        anonymise(log.beside(".1"), address, anew=anew, packed=packed)
        log.append(911, 920)
        assert log.run() == numbers(901, 920)
        assert log.notes == []
        assert log.run() == []

    @pytest.mark.parametrize("anew", [True, False])
    def test_earlier_files_that_are_made_anonymous_are_not_sent_again(
        self, tmp_path: Path, anew: bool
    ) -> None:
        log = Resumed(tmp_path)
        log.append(101, 500)
        log.run()
        log.rename(".1")
        log.append(501, 510)
        assert log.run() == numbers(501, 510)
        anonymise(log.beside(".1"), "0.0.0.0", anew=anew)
        assert log.run() == []
        log.rename(".2", source=".1")
        log.rename(".1")
        log.append(511, 520)
        assert log.run() == numbers(511, 520)
        assert log.notes == []

    def test_another_edit_is_sent_again_and_said(self, tmp_path: Path) -> None:
        log = Resumed(tmp_path)
        log.append(101, 200)
        log.run()
        log.rename(".1")
        log.beside(".1").write_bytes(log.beside(".1").read_bytes().replace(b"users", b"people"))
        log.append(201, 210)
        assert log.run() == numbers(101, 210)
        assert len(log.notes) == 1
        assert "access.log.1 is read from its start, up to 100 lines twice" in log.notes[0]

    def test_another_edit_in_a_new_file_is_not_called_lost_alone(self, tmp_path: Path) -> None:
        log = Resumed(tmp_path)
        log.append(101, 200)
        log.run()
        log.rename(".1")
        edited = log.beside(".1").read_bytes().replace(b"users", b"people")
        log.beside(".new").write_bytes(edited)
        log.beside(".new").replace(log.beside(".1"))
        log.append(201, 210)
        assert log.run() == numbers(101, 210)
        assert "if access.log.1 is that file, edited since, its lines are sent twice" in log.notes[0]

    def test_a_new_file_with_the_inode_of_a_removed_one_is_read(self, tmp_path: Path) -> None:
        """As many lines, but other ones."""
        log = Resumed(tmp_path)
        log.append(101, 200)
        log.run()
        log.rename(".1")
        log.beside(".1").write_text("\n".join(lines(301, 400)) + "\n")
        log.append(401, 410)
        assert log.run() == numbers(301, 410)

    @pytest.mark.parametrize(
        ("line", "other", "same"),
        [
            (b'192.0.2.7 - - "GET / HTTP/1.1" 200', b'- - - "GET / HTTP/1.1" 200', True),
            (b'2001:db8::7 - - "GET / HTTP/1.1" 200', b'host - - "GET / HTTP/1.1" 200', True),
            (b'{"remote_addr":"192.0.2.7","status":200}', b'{"remote_addr":"","status":200}', True),
            (b"192.0.2.7:5000 GET /a", b"0.0.0.0:0 GET /b", False),
            (b"13:00:00 GET /a", b"13:00:01 GET /a", False),
        ],
    )
    def test_what_a_line_is_known_by(self, line: bytes, other: bytes, same: bool) -> None:
        assert is_sketched(line, sketch(line))
        assert is_sketched(other, sketch(line)) is same

    @pytest.mark.parametrize("drawn", ["", ":", "x,y:z", "-1:00", "999999999999:00"])
    def test_a_hostile_sketch_is_no_line_s(self, drawn: str) -> None:
        assert not is_sketched(b"192.0.2.7 GET /", drawn)


def anonymise(path: Path, address: str, *, anew: bool, packed: bool = False) -> None:
    """Rewrite the addresses of a file, in place or in a new file of its name, which may be compressed."""
    content = path.read_bytes().replace(b"192.0.2.1 ", f"{address} ".encode())
    if packed:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
        path.unlink()
    elif anew:
        beside = path.with_name("anonymous")
        beside.write_bytes(content)
        beside.replace(path)
    else:
        path.write_bytes(content)


class TestTimes:
    def test_touched_files_that_the_first_run_left_out_are_left_out_for_good(self, tmp_path: Path) -> None:
        log = Resumed(tmp_path)
        for number, ending in ((100, ".3"), (300, ".2"), (500, ".1")):
            log.append(number, number + 199, to=ending)
        log.append(701, 710)
        assert log.run() == numbers(701, 710)
        for ending in (".3", ".2", ".1"):
            os.utime(log.beside(ending))
        self.rotate(log, 3)
        log.append(711, 720)
        assert log.run() == numbers(711, 720)
        assert log.notes == []

    def test_touched_files_that_were_read_long_ago_are_not_sent_again(self, tmp_path: Path) -> None:
        log = Resumed(tmp_path)
        for number in range(1, 16):
            log.append(10 * number, 10 * number + 9)
            self.date(log.log, 1000 - number)
            assert log.run() == numbers(10 * number, 10 * number + 9)
            self.rotate(log, number)
        for number in range(1, 16):
            os.utime(log.beside(f".{number}"))
        log.append(201, 209)
        assert log.run() == numbers(201, 209)
        assert log.notes == []

    def test_an_old_file_that_has_changed_is_sent_and_said(self, tmp_path: Path) -> None:
        log = Resumed(tmp_path)
        log.append(100, 299, to=".1")
        log.append(701, 710)
        log.run()
        log.append(300, 301, to=".1")
        self.rotate(log, 1)
        log.append(711, 712)
        assert log.run() == [*numbers(100, 301), 711, 712]
        assert "is older than access.log.1 by its name and newer by its time" in log.notes[0]

    @pytest.mark.parametrize("age_s", [-(400 * 366 * 86_400), -3600, 60 * 366 * 86_400])
    def test_absurd_times_of_the_log_lose_nothing(self, tmp_path: Path, age_s: int) -> None:
        log = Resumed(tmp_path)
        log.append(101, 110)
        self.date(log.log, age_s)
        assert log.run() == numbers(101, 110)
        self.rotate(log, 1)
        log.append(111, 120)
        self.rotate(log, 2)
        log.append(121, 130)
        assert log.run() == numbers(111, 130)
        assert log.run() == []

    @pytest.mark.parametrize("age_s", [-(200 * 366 * 86_400), 60 * 366 * 86_400, 40 * 366 * 86_400])
    def test_absurd_times_of_a_rotated_file_lose_nothing(self, tmp_path: Path, age_s: int) -> None:
        log = Resumed(tmp_path)
        log.append(100, 100, to=".9")
        self.date(log.beside(".9"), age_s)
        log.append(101, 110)
        assert log.run() == numbers(101, 110)
        self.rotate(log, 1)
        log.append(111, 120)
        self.rotate(log, 2)
        self.date(log.beside(".1"), age_s)
        log.append(121, 130)
        assert sorted(log.run()) == numbers(111, 130)
        assert log.run() == []

    def rotate(self, log: Resumed, generations: int) -> None:
        """Rename each file to the next number, as logrotate does."""
        for number in range(generations, 0, -1):
            if log.beside(f".{number}").exists():
                log.rename(f".{number + 1}", source=f".{number}")
        log.rename(".1")

    def date(self, path: Path, age_s: int) -> None:
        """Give a file the time of so long ago."""
        moment_ns = path.stat().st_mtime_ns - age_s * SECOND
        os.utime(path, ns=(moment_ns, moment_ns))

    def test_a_new_file_of_the_number_and_size_of_a_removed_one_is_read(self, tmp_path: Path) -> None:
        """Inodes are used again at once, and lines of one length give sizes that are equal."""
        log = Resumed(tmp_path)
        log.append(100, 109, to=".1")
        log.append(201, 210)
        assert log.run() == numbers(201, 210)
        log.rename(".2")
        log.beside(".1").write_text("\n".join(lines(301, 310)) + "\n")  # the same inode, and as many bytes
        log.append(401, 410)
        assert log.run() == [*numbers(301, 310), *numbers(401, 410)]
