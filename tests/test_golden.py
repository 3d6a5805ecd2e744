"""The command prints what it printed: `golden/cases.toml` has the cases, and says how to renew them."""

from __future__ import annotations

import os
import shlex
import tomllib
from itertools import islice
from typing import Any

import pytest
from command import invoke
from places import GOLDEN, SAMPLE_LOGS
from rich.cells import cell_len

CASES: dict[str, dict[str, Any]] = tomllib.loads((GOLDEN / "cases.toml").read_text("utf-8"))


def first_lines(count: int) -> bytes:
    with (SAMPLE_LOGS / "nginx.log").open("rb") as log:
        return b"".join(islice(log, count))


@pytest.mark.parametrize("name", CASES)
def test_a_command_prints_what_it_printed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SAMPLE_LOGS)
    case = CASES[name]
    columns = case.get("columns")
    words = shlex.split(case["command"])
    printed = invoke(*words, columns=columns or 80, stdin=first_lines(case.get("lines", 0))).stdout
    if case.get("sorted"):
        printed = "".join(sorted(printed.splitlines(keepends=True)))
    if os.environ.get("GOLDEN") == "new":
        (GOLDEN / name).write_text(printed, "utf-8")
    assert printed == (GOLDEN / name).read_text("utf-8")
    if columns and words[0] == "report":
        assert all(cell_len(line) <= columns and line == line.rstrip() for line in printed.splitlines())


def test_every_golden_file_has_its_case() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {"cases.toml", *CASES}
