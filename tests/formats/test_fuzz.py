"""The fuzz of the line parsers, for a second; `tests/support/fuzz_formats.py` runs as long as you like."""

from __future__ import annotations

import random

import pytest
from fuzz_formats import try_lines, try_time

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", range(8))
def test_any_line_gives_one_entry_and_no_exception(seed: int) -> None:
    chance = random.Random(seed)

    for _ in range(40):
        try_lines(chance)


@pytest.mark.measured
def test_long_lines_take_time_in_proportion() -> None:
    chance = random.Random(1)

    for _ in range(40):
        try_time(chance)
