"""The compiled scanner, the Python scanner, two databases and `wc -l` by turns, on logs of every kind.

python benchmarks/scanners.py --markdown                    # one and ten million lines
python benchmarks/scanners.py --lines 1000000 --runs 3      # a quick look
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import installs
import logs
import measure
import ours
from installs import Package
from peers import PEERS
from tables import table

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
HEADER = ("log", "lines", "tool", "wall s", "CPU s", "memory MB", "time ÷ compiled", "time ÷ `wc -l`")
LOGS = {
    "nginx": ("nginx", "usual"),
    "gunicorn": ("gunicorn", "usual"),
    "JSON": ("json", "usual"),
    "all distinct": ("nginx", "all-distinct"),
    "flood": ("nginx", "flood"),
}
DATABASES = ("ClickHouse", "DuckDB")


class Tool(NamedTuple):
    """Something that is run on a log."""

    name: str
    command: list[str]


def scanner(name: str, log: Path, routes: Path) -> Tool:
    """Give our report with one of the scanners."""
    command = ["env", f"LOGSTATSD_SCANNER={name}", *ours.report(log, routes, "-q")]
    return Tool({"native": "compiled", "python": "Python"}[name], command)


def databases(log: Path, cache: Path) -> Iterator[Tool]:
    """Give the databases that can be installed."""
    for peer in PEERS:
        program = installs.ensure(cache, peer.package) if peer.name in DATABASES else None
        if program is not None:
            yield Tool(peer.name, peer.prepared(program, log, cache / "work"))


def packed(log: Path, routes: Path, cache: Path) -> list[Tool]:
    """Give our reports of a gzipped log, and its fastest decoder."""
    archive = logs.compressed(log)
    tools = [scanner(name, archive, routes) for name in ("native", "python")]
    program = installs.ensure(cache, Package("apt", "isal", "igzip"))
    if program is not None:
        tools.append(Tool("igzip -dc, wc -l", ["sh", "-c", f"'{program}' -dc '{archive}' | wc -l"]))
    return tools


def rows(name: str, lines: int, tools: list[Tool], runs: int) -> Iterator[list[str]]:
    """Run the tools by turns; the first is what the others are compared with."""
    timed = [[measure.timed(tool.command) for tool in tools] for _ in range(runs)]
    walls = [statistics.median(run.wall for run in each) for each in zip(*timed, strict=True)]
    count = next((wall for tool, wall in zip(tools, walls, strict=True) if "wc" in tool.name), 0.0)
    for number, tool in enumerate(tools):
        cpu = statistics.median(each[number].cpu for each in timed)
        memory = measure.peak_memory(tool.command) / 1e6
        against = f"{walls[number] / count:.1f}" if count else ""
        ratio = f"{walls[number] / walls[0]:.2f}"
        yield [
            name,
            f"{lines:,}",
            tool.name,
            f"{walls[number]:.2f}",
            f"{cpu:.2f}",
            f"{memory:.0f}",
            ratio,
            against,
        ]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--runs", type=int, default=5, help="of each, by turns (default 5)")
    parser.add_argument("--cache", type=Path, default=HERE / ".cache", help="for programs and logs")
    parser.add_argument("--only", nargs="+", choices=[*LOGS, "gz"], default=[*LOGS, "gz"])
    parser.add_argument("--no-python", action="store_true", help="leave the Python scanner out")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    cache = options.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    routes = ours.snapshot(cache)
    scanners = ("native",) if options.no_python else ("native", "python")
    print(f"{measure.machine()}; medians of {options.runs} runs\n", flush=True)
    found = []
    for lines in options.lines:
        for name in options.only:
            log = logs.ensure(cache, lines, *LOGS.get(name, LOGS["nginx"]))
            measure.warm(log)
            if name == "gz":
                tools = packed(log, routes, cache)
            else:
                tools = [scanner(each, log, routes) for each in scanners]
                tools += databases(log, cache) if name == "nginx" else ()
                tools.append(Tool("wc -l", ["wc", "-l", str(log)]))
            print(f"{name}, {lines:,} lines …", file=sys.stderr)
            found += rows(name, lines, tools, options.runs)
    print(table(HEADER, found, options.markdown))
    print(f"\nload when it ended {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
