"""Each case of docs/resume.md, made on disk, is told as that case and planned as the table says."""

from __future__ import annotations

import gzip
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from places import DOCS
from resuming import DESTINATION, Resumed, numbers

from logstatsd.tail.cases import NOTES, Case
from logstatsd.tail.checkpoint import read_checkpoint
from logstatsd.tail.resume import Scene, plan_reading
from logstatsd.tail.rotated import close_all, log_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from logstatsd.tail.checkpoint import LogState
    from logstatsd.tail.plan import ReadPlan

READ = numbers(1, 300)


def rename(log: Resumed) -> None:
    log.append(301, 301)
    log.rename(".1")
    log.append(302, 302)


def copy(log: Resumed) -> None:
    log.append(301, 301)
    log.copytruncate(".1")
    log.append(302, 302)


def compress(log: Resumed) -> None:
    rename(log)
    log.beside(".1.gz").write_bytes(gzip.compress(log.beside(".1").read_bytes()))
    log.beside(".1").unlink()


def unchanged_compressed(log: Resumed) -> None:
    compress(log)
    log.log.unlink()
    log.run()


def copy_a_part(log: Resumed) -> None:
    log.beside(".1").write_bytes(log.log.read_bytes()[:-20])
    log.log.write_text("")
    log.append(302, 302)


def lose_a_block(log: Resumed) -> None:
    log.log.write_bytes(log.log.read_bytes()[:-20])


def truncate(log: Resumed) -> None:
    log.log.write_text("")
    log.append(302, 302)


def remove(log: Resumed) -> None:
    log.beside(".new").write_text("")
    log.append(302, 302, to=".new")
    log.log.unlink()
    log.rename("", source=".new")


def edit(log: Resumed) -> None:
    rename(log)
    anonymous = log.beside(".1").read_bytes().replace(b"192.0.2.1", b"0.0.0.0")
    log.beside(".1").write_bytes(anonymous)


def change(log: Resumed) -> None:
    rename(log)
    log.beside(".1").write_bytes(log.beside(".1").read_bytes().upper())


HAPPENED: dict[Case, tuple[Callable[[Resumed], None], list[str]]] = {
    Case.UNCHANGED: (unchanged_compressed, []),
    Case.KEPT: (lambda log: log.append(301, 301), ["access.log"]),
    Case.RENAMED: (rename, ["access.log.1", "access.log"]),
    Case.COPIED: (copy, ["access.log.1", "access.log"]),
    Case.COMPRESSED: (compress, ["access.log.1.gz", "access.log"]),
    Case.EDITED: (edit, ["access.log.1", "access.log"]),
    Case.PART_COPIED: (copy_a_part, ["access.log"]),
    Case.REWRITTEN: (lose_a_block, ["access.log"]),
    Case.TRUNCATED: (truncate, ["access.log"]),
    Case.CHANGED: (change, ["access.log.1", "access.log"]),
    Case.GONE: (remove, ["access.log"]),
}
"""Each case, how it comes about, and the files that are read then."""


@pytest.fixture
def log(tmp_path: Path) -> Resumed:
    """A log of 300 lines, read in three portions, so that it is known by several points."""
    log = Resumed(tmp_path)
    log.append(1, 300)
    assert log.run(max_lines=100) == READ
    return log


def state_of(log: Resumed) -> LogState:
    """The log's state, as the checkpoint has it."""
    checkpoint = read_checkpoint(log.checkpoint, DESTINATION)
    assert checkpoint
    return checkpoint.logs[str(log.log)]


@contextmanager
def planned(log: Resumed) -> Iterator[ReadPlan]:
    """The plan for a log, of which nothing is read."""
    files = log_files(str(log.log))
    yield plan_reading(Scene(str(log.log), state_of(log), files))
    close_all(files)


@pytest.mark.parametrize("case", Case)
def test_each_case_is_told_and_planned(log: Resumed, case: Case) -> None:
    happen, files = HAPPENED[case]
    happen(log)
    with planned(log) as plan:
        assert plan.case is case
        assert [span.file.path.name for span in plan.spans] == files
        assert bool(plan.notes) is (case in NOTES)


def test_two_plans_of_one_moment_are_equal_and_leave_the_state_alone(log: Resumed) -> None:
    rename(log)
    scene = Scene(str(log.log), state_of(log), log_files(str(log.log)))
    assert plan_reading(scene) == plan_reading(scene)
    assert scene.state == state_of(log)
    close_all(scene.files)


def test_the_manual_has_a_row_for_each_case_in_the_order_of_the_code() -> None:
    page = (DOCS / "resume.md").read_text("utf-8")
    assert re.findall(r"^\| ([a-z ]+) \|", page, re.MULTILINE)[1:] == [case.value for case in Case]
