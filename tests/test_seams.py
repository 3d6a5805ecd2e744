"""A new dialect, scheme, encoder, renderer, order, engine or format is one entry of a table; nothing else."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import command
import pytest
from places import SAMPLE_LOGS, SHOP

if TYPE_CHECKING:
    from pathlib import Path

LOG = SAMPLE_LOGS / "nginx.log"

DIALECT = """
from logstatsd.delivery import dialects

def upper(metric, letters, sample_rate=1, timestamp=None):
    return f"{metric.name.upper()}:".encode(), f"|{letters}\\n".encode()

dialects.DIALECTS["upper"] = dialects.Dialect(upper, ("timing",), extended=False)
"""
SCHEME = """
from logstatsd.delivery import naming

naming.SCHEMES["mine"] = naming.SCHEMES["flask"]._replace(suffix=".mine")
"""
ENCODER = """
import types
from logstatsd.delivery import encoders
from logstatsd.delivery.encoders.encoder import Encoder

class Totalled(Encoder):
    noun = "totals"

    def add(self, batch):
        for durations in batch.timings.values():
            self._due += 1
            self._packer.put((b"total:", b"|c\\n"), [str(sum(durations.values())).encode()])

    def time_note(self, now_s):
        return None

module = types.ModuleType("totals")
module.make = lambda naming, sink, encoding: Totalled(naming, sink, pack=False, max_series=1)
sys.modules["totals"] = module
encoders.ENCODERS["totals"] = encoders.EncoderEntry("one total a series", "totals")
"""
RENDERER = """
from logstatsd.report import render

render.RENDERERS["count"] = render.Renderer("The count.", lambda summary, sort: str(summary.counts.parsed))
"""
SORT = """
from logstatsd.report import render

render.SORTS["length"] = lambda row: len(row["rule"])
"""
ENGINE = """
import types
from logstatsd import engine

module = types.ModuleType("backwards")
module.run = lambda work, tasks, jobs: reversed([work(task) for task in tasks])
sys.modules["backwards"] = module
engine.ENGINES["backwards"] = engine.Engine("the last task first", "backwards")
"""
SCANNER = """
import types
from logstatsd.scan import scanner, scanners

module = types.ModuleType("twice")
module.WHY_NOT = ""

class Twice(scanner.Scanner):
    def scan(self, data, misfits=None):
        return super().scan(data + data, misfits)

module.make = lambda log_format, router, bounded=False, **options: Twice(log_format, router, **options)
sys.modules["twice"] = module
scanners.SCANNERS["twice"] = scanners.ScannerEntry("counts all twice", "twice")
"""
FORMAT = """
from logstatsd.formats import presets
from logstatsd.formats.logformat import LogFormat

presets.FORMATS["mine"] = presets.Preset(
    LogFormat("mine", "$status|$request|$request_time", "nginx"), "200|GET / HTTP/1.1|0.042",
    presets.Expected(),
)
"""


def run(entry: str, *arguments: object) -> str:
    """Run the command with one entry more in a table; return what it prints."""
    code = f"import sys\n{entry}\nfrom logstatsd.cli import cli\ncli(prog_name='logstatsd')"
    return command.run(*arguments, command=[sys.executable, "-c", code]).stdout


def test_a_dialect() -> None:
    out = run(DIALECT, "replay", LOG, "--app", SHOP, "-n", "-q", "--dialect", "upper")
    assert out.startswith("SHOP.API.REQUEST:")


def test_a_scheme() -> None:
    assert "shop.mine:" in run(SCHEME, "replay", LOG, "--app", SHOP, "-n", "-q", "--scheme", "mine")


def test_an_encoder() -> None:
    out = run(ENCODER, "replay", LOG, "--app", SHOP, "-n", "-q", "--send", "totals")
    assert sum(int(line[len("total:") : -len("|c")]) for line in out.splitlines()) == 3_000


def test_a_renderer() -> None:
    assert run(RENDERER, "report", LOG, "--app", SHOP, "-q", "--count") == "3000\n"


def test_an_order() -> None:
    rows = json.loads(run(SORT, "report", LOG, "--app", SHOP, "-q", "--sort", "length", "--json"))["rows"]
    lengths = [len(row["rule"]) for row in rows]
    assert lengths == sorted(lengths, reverse=True)


def test_an_engine() -> None:
    plain = run("", "report", LOG, "--app", SHOP, "-q", "--json")
    assert run(ENGINE, "report", LOG, "--app", SHOP, "-q", "--json", "--engine", "backwards") == plain


def test_a_scanner() -> None:
    options = ("--app", SHOP, "-q", "--json", "--engine", "serial", "--scanner", "twice")
    assert json.loads(run(SCANNER, "report", LOG, *options))["lines"] == 6_000


@pytest.mark.parametrize("given", [(), ("--log-format", "mine")], ids=["found", "named"])
def test_a_format(given: tuple[str, ...], tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(20 * "200|GET /health HTTP/1.1|0.042\n")
    rows = json.loads(run(FORMAT, "report", str(log), "--app", SHOP, "-q", "--json", *given))["rows"]
    assert [(row["rule"], row["requests"], row["p50_us"]) for row in rows] == [("/health", 20, 42_000)]
