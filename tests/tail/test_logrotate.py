"""Real logrotate, in each of its modes, between and around the runs."""

from __future__ import annotations

import subprocess
from itertools import count
from typing import TYPE_CHECKING

import pytest
from campaign import ANONYMISED, MODES, RACE, Replay, campaign
from resuming import Resumed, numbers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture
def rotate(need: Callable[[str], str], tmp_path: Path) -> Callable[[str], None]:
    """Have logrotate rotate the log of a test now, in a mode."""
    program, seconds = need("logrotate"), count()

    def rotated(mode: str) -> None:
        config = tmp_path / "logrotate.conf"
        directives = MODES[mode].replace("%s", f"{next(seconds):02}")
        config.write_text(f'"{tmp_path / "access.log"}" {{\nrotate 9\n{directives}\n}}\n')
        subprocess.run([program, "-f", "-s", tmp_path / "logrotate.state", config], check=True)

    return rotated


@pytest.mark.parametrize("mode", MODES)
def test_every_line_once_through_each_mode(mode: str, rotate: Callable[[str], None], tmp_path: Path) -> None:
    log = Resumed(tmp_path)
    log.append(1, 5)
    assert log.run() == numbers(1, 5)
    log.append(6, 7)
    rotate(mode)
    log.append(8, 20)
    assert log.run() == numbers(6, 20)
    assert log.run() == []
    log.append(21, 22)
    rotate(mode)
    assert log.run() == [21, 22]
    assert log.run() == []
    log.append(23, 23)
    assert log.run() == [23]
    assert log.notes == []


@pytest.mark.parametrize("mode", MODES)
def test_several_rotations_between_two_runs(mode: str, rotate: Callable[[str], None], tmp_path: Path) -> None:
    log = Resumed(tmp_path)
    log.append(1, 5)
    log.run()
    for first in (6, 16, 26):
        log.append(first, first + 9)
        rotate(mode)
    log.append(36, 40)
    assert log.run() == numbers(6, 40)
    assert log.run() == []
    assert log.notes == []


@pytest.mark.parametrize("mode", ["create compress", "copytruncate delaycompress", RACE, ANONYMISED])
def test_a_short_fault_campaign(mode: str, need: Callable[[str], str], tmp_path: Path) -> None:
    """A writer at full speed, rotations, SIGKILL at random moments; the long one is support/campaign.py."""
    need("logrotate")
    figures = campaign(mode, tmp_path, kills=8, seed=1, make_reader=Replay)
    assert figures.good, figures
    assert figures.kills == 8
    assert figures.rotations
    assert not figures.unsaid
    assert figures.surviving > 10_000
