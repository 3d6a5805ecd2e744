"""Run ours and every peer by turns on the same log, and say who was how fast, how big and how right."""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

import installs
import logs
import measure
import ours
import stages
import truth
from peers import PEERS, Peer
from tables import table

HERE = Path(__file__).resolve().parent
HEADER = (
    "tool",
    "wall s",
    "CPU s",
    "memory MB",
    "time ÷ ours",
    "target",
    "lines",
    "counts",
    "percentiles",
    "gives",
)
TARGETS = {
    "alp": 5.0,
    "GoAccess": 5.0,
    "kataribe": 4.0,
    "lnav": 2.5,
    "DuckDB": 0.7,
}  # times as long as ours, at least


class Result(NamedTuple):
    """What came of one tool; `ratio` is to our runs that alternated with its own."""

    name: str
    wall: float
    cpu: float
    memory: int
    ratio: float
    verdict: truth.Verdict
    gives: str


def alternate(
    mine: list[str], theirs: list[str], stdin: Path | None, runs: int
) -> tuple[list[measure.Run], ...]:
    """Run ours, theirs, ours, …: what disturbs one disturbs the other."""
    pairs = [(measure.timed(mine), measure.timed(theirs, stdin)) for _ in range(runs)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def against(
    peer: Peer, program: str, mine: list[str], log: Path, cache: Path, runs: int
) -> tuple[Result, list[measure.Run]]:
    """Compare with one peer; give our runs, too."""
    theirs = peer.prepared(program, log, cache / "work")
    stdin = log if peer.reads_stdin else None
    our_runs, their_runs = alternate(mine, theirs, stdin, runs)
    wall = statistics.median(run.wall for run in their_runs)
    verdict = truth.judge(peer.read(their_runs[0].output), truth.load(log))
    result = Result(
        peer.name,
        wall,
        statistics.median(run.cpu for run in their_runs),
        measure.peak_memory(theirs, stdin),
        wall / statistics.median(run.wall for run in our_runs),
        verdict,
        peer.gives,
    )
    return result, our_runs


def check(log: Path, routes: Path) -> list[str]:
    """Check our own report of a log against the truth; give what is wrong."""
    output = measure.timed(ours.report(log, routes)).output
    told, true = ours.read_report(output), truth.load(log)
    verdict = truth.judge(told, true, labels=True)
    wrong = ours.wrong_details(output, true)
    wrong += [f"{name}: {said}" for name, said in vars(verdict).items() if said != "right"]
    return wrong


def run_all(peers: list[Peer], log: Path, routes: Path, cache: Path, runs: int) -> list[Result]:
    """Compare with every peer that can be installed; ours comes first."""
    mine, results, our_runs = ours.report(log, routes), [], []
    measure.warm(log)
    for peer in peers:
        program = installs.ensure(cache, peer.package)
        if program is None:
            continue
        print(f"{peer.name} …", file=sys.stderr)
        try:
            result, more = against(peer, program, mine, log, cache, runs)
        except (OSError, ValueError, LookupError, StopIteration) as error:
            print(f"  failed: {error}", file=sys.stderr)
            continue
        results.append(result)
        our_runs += more
    our_runs = our_runs or [measure.timed(mine) for _ in range(runs)]
    own = Result(
        "logstatsd",
        statistics.median(run.wall for run in our_runs),
        statistics.median(run.cpu for run in our_runs),
        measure.peak_memory(mine),
        1.0,
        truth.judge(ours.read_report(our_runs[0].output), truth.load(log), labels=True),
        "rules as Flask matched them, percentiles",
    )
    return [own, *results]


def row(result: Result) -> list[str]:
    """Write a result as cells."""
    target = TARGETS.get(result.name)
    met = "" if target is None else f"≥ {target} {'met' if result.ratio >= target else 'MISSED'}"
    return [
        result.name,
        f"{result.wall:.2f}",
        f"{result.cpu:.2f}",
        f"{result.memory / 1e6:.0f}",
        f"{result.ratio:.2f}",
        met,
        result.verdict.lines,
        result.verdict.counts,
        result.verdict.percentiles,
        result.gives,
    ]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5, help="of each, by turns (default 5)")
    parser.add_argument("--cache", type=Path, default=HERE / ".cache", help="for programs and logs")
    parser.add_argument("--only", nargs="+", metavar="PEER", help=", ".join(peer.name for peer in PEERS))
    parser.add_argument(
        "--check", action="store_true", help="only check our report, of each format, against the truth"
    )
    parser.add_argument("--profile", action="store_true", help="only say where our time goes, in one process")
    parser.add_argument("--format", choices=logs.FORMATS, default="nginx", help="of the log to profile")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    cache = options.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    routes = ours.snapshot(cache)
    if options.check:
        wrong = [
            f"{layout}: {each}"
            for layout in ("nginx", "gunicorn", "json")
            for each in check(logs.ensure(cache, options.lines, layout), routes)
        ]
        print("\n".join(wrong) or "right: counts, errors, sums, percentiles, rejected lines, in every format")
        sys.exit(bool(wrong))
    if options.profile:
        spent = stages.profile(logs.ensure(cache, options.lines, options.format), routes)
        print(table(("stage", "CPU s", "share"), stages.lines(spent), options.markdown))
        return
    print(f"{measure.machine()}; nginx log of {options.lines:,} lines; medians of {options.runs} runs\n")
    peers = [peer for peer in PEERS if not options.only or peer.name in options.only]
    log = logs.ensure(cache, options.lines)
    print(
        table(
            HEADER, [row(each) for each in run_all(peers, log, routes, cache, options.runs)], options.markdown
        )
    )


if __name__ == "__main__":
    main()
