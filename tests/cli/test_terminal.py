"""A report on a terminal: as wide as it, with colours where those are wanted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from command import run
from terminal import on_a_terminal

if TYPE_CHECKING:
    from pathlib import Path

ROUTES = ("--routes", "routes.json")


def test_a_table_fits_the_terminal_it_is_shown_on(here: Path) -> None:
    text = on_a_terminal("report", "nginx.log", *ROUTES, columns=80)
    bare = re.sub(r"\x1b\[[0-9;]*m", "", text)
    piped = run("report", "nginx.log", *ROUTES).stdout
    assert [line.rstrip() for line in bare.splitlines()] == piped.splitlines()
    assert "\x1b[2m" in text, "what no rule matched is dim"


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_are_left_out_on_demand(env: dict[str, str], here: Path) -> None:
    text = on_a_terminal("report", "nginx.log", *ROUTES, columns=80, **env)
    assert not re.search(r"\x1b\[(?:[0-9;]*;)?[349]\d", text)
    assert "TERM" not in env or "\x1b" not in text


def test_a_locale_without_boxes_is_no_error(here: Path) -> None:
    env = {"PYTHONIOENCODING": "latin-1"}
    done = run("report", "nginx.log", *ROUTES, encoding="latin-1", env=env)
    assert "/health" in done.stdout
