"""Requests that only the app can decide: each has a path of its own, and they are let go all the same."""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING

import odd_converters
import pytest

from logstatsd.formats.logformat import parse_layout
from logstatsd.model.route import Undecided
from logstatsd.routing import app as apps
from logstatsd.routing.router import Router
from logstatsd.scan.entries import LineReader
from logstatsd.scan.jsonlines import Normalize
from logstatsd.scan.logs import open_logs
from logstatsd.scan.run import Run
from logstatsd.scan.scanner import Scanner
from logstatsd.scan.settle import Settler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LAYOUT = parse_layout('"$request" $status $request_time')
ROUTER = Router(apps.from_object(odd_converters.app_of({"good": odd_converters.Good})).snapshot())


pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    """As where the work is done: nobody collects cycles there."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


def lines(start: int, count: int, length: int) -> bytes:
    """So many lines, each with a target that no other has."""
    filling = "x" * length
    made = (f'"GET /good/{number}{filling} HTTP/1.1" 200 0.001\n' for number in range(start, start + count))
    return "".join(made).encode()


def held_mib() -> float:
    return tracemalloc.get_traced_memory()[0] / (1 << 20)


@pytest.mark.parametrize(("count", "length"), [(9_000, 0), (400, 15_000)])
def test_a_tally_lets_go_of_them(count: int, length: int) -> None:
    scanner, settler = Scanner(LAYOUT, ROUTER), Settler()
    for chunk in range(10):
        batch = settler.settle(scanner.scan(lines(chunk * count, count, length)))
        assert sum(map(len, batch.timings.values())) == 1
    del batch
    assert held_mib() < 40
    assert sum(settler.unproven.values()) == 10 * count


def test_entries_let_go_of_them() -> None:
    reader = LineReader(LAYOUT, ROUTER)
    for chunk in range(10):
        for line, row in reader.rows(lines(chunk * 400, 400, 15_000)):
            entry = reader.entry(0, line, row)
            assert entry is not None
            assert isinstance(entry.route, Undecided)
    del entry, line, row
    assert held_mib() < 20


def test_json_lines_let_go_of_them(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(lines(0, 4_000, 15_000))
    run = Run(open_logs([str(log)], log_format=LAYOUT.layout), ROUTER, jobs=1)
    held = []
    for done in run.over(Normalize(run.choices, ROUTER)):
        assert done.counts.lines
        done.parts.clear()
        held.append(held_mib())
    assert len(held) > 2
    assert max(held) < 60
