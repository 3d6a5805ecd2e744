"""No hostile command line ends with a traceback, or goes on for ever: a share of them, from a seed."""

from __future__ import annotations

import pytest
from hostile_commands import run_cases

SEED = 12
SECONDS = 60.0


@pytest.mark.slow
def test_hostile_command_lines_end_in_one_line() -> None:
    assert run_cases(SEED, 200, SECONDS) == []
