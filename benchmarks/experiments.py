"""Named experiments on ourselves: scaling, formats, compression, memory, start-up; each with its targets."""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import logs
import measure
import ours
from tables import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).resolve().parent
HEADER = ("experiment", "measured", "value", "target", "")
MILLION = 1_000_000


class Setting(NamedTuple):
    """What an experiment is run with."""

    cache: Path
    routes: Path
    runs: int
    scale: float
    keep: bool

    def log(self, lines: int, layout: str = "nginx", kind: str = "usual") -> Path:
        """Give a log of so many lines, as scaled, in the page cache."""
        path = logs.ensure(self.cache, max(10, int(lines * self.scale)), layout, kind)
        measure.warm(path)
        return path


class Finding(NamedTuple):
    """A number, and the most or the least that it should be."""

    what: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    def cells(self, experiment: str) -> list[str]:
        """Write it as cells of the table."""
        limit, sign = (self.at_most, "≤") if self.at_least is None else (self.at_least, "≥")
        if limit is None:
            return [experiment, self.what, f"{self.value:.2f} {self.unit}", "", ""]
        met = self.value <= limit if self.at_least is None else self.value >= limit
        return [
            experiment,
            self.what,
            f"{self.value:.2f} {self.unit}",
            f"{sign} {limit} {self.unit}",
            "met" if met else "MISSED",
        ]


def medians(runs: int, *commands: list[str]) -> list[float]:
    """Run the commands by turns; give the median wall seconds of each."""
    walls = [[measure.timed(command).wall for command in commands] for _ in range(runs)]
    return [statistics.median(each) for each in zip(*walls, strict=True)]


def scaling(setting: Setting) -> Iterator[Finding]:
    """Compare one process with two."""
    log = setting.log(10 * MILLION)
    one, two = medians(setting.runs, *(ours.report(log, setting.routes, "--jobs", jobs) for jobs in "12"))
    yield Finding("one process", one, "s")
    yield Finding("two processes", two, "s")
    yield Finding("one ÷ two", one / two, "times", at_least=1.7)


def formats(setting: Setting) -> Iterator[Finding]:
    """Compare gunicorn's and JSON logs with nginx's."""
    paths = [setting.log(MILLION, layout) for layout in ("nginx", "gunicorn", "json")]
    nginx, gunicorn, as_json = medians(setting.runs, *(ours.report(path, setting.routes) for path in paths))
    yield Finding("nginx", nginx, "s")
    yield Finding("gunicorn ÷ nginx", gunicorn / nginx, "times", at_most=1.5)
    yield Finding("json ÷ nginx", as_json / nginx, "times", at_most=3.0)


def gz(setting: Setting) -> Iterator[Finding]:
    """Compare a gzipped log with a plain one."""
    log = setting.log(MILLION)
    plain, packed = medians(
        setting.runs, *(ours.report(path, setting.routes) for path in (log, logs.compressed(log)))
    )
    yield Finding("plain", plain, "s")
    yield Finding("gz ÷ plain", packed / plain, "times")


MEMORY_LOGS: tuple[tuple[str, int, str, str], ...] = (
    ("nginx, 1 million lines", MILLION, "nginx", "usual"),
    ("nginx, 10 million lines", 10 * MILLION, "nginx", "usual"),
    ("nginx, 50 million lines", 50 * MILLION, "nginx", "usual"),
    ("gunicorn microseconds, 10 million lines", 10 * MILLION, "gunicorn", "usual"),
    ("JSON, 1 million lines", MILLION, "json", "usual"),
    ("every target distinct, 10 million lines", 10 * MILLION, "nginx", "all-distinct"),
    ("flood of unmatched targets, 10 million lines", 10 * MILLION, "nginx", "flood"),
)


def memory(setting: Setting) -> Iterator[Finding]:
    """Sum the memory of all processes on logs of several lengths and natures."""
    for what, lines, layout, kind in MEMORY_LOGS:
        log = setting.log(lines, layout, kind)
        peak = measure.peak_memory(ours.report(log, setting.routes, "--jobs", "2"))
        yield Finding(what, peak / 1e6, "MB", at_most=250)
        if lines > MILLION and not setting.keep:
            logs.remove(log)


def startup(setting: Setting) -> Iterator[Finding]:
    """Time what hardly has anything to do."""
    log = logs.ensure(setting.cache, 10)
    bare = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(HERE)!r}); import bench_app"]
    with_app = [*ours.PROGRAM, "report", str(log), "--app", ours.APP, "--json"]
    commands = [bare, with_app, ours.report(log, setting.routes)]
    commands += [[*ours.PROGRAM, option] for option in ("--help", "--version")]
    imported, app, routes, usage, version = medians(4 * setting.runs, *commands)
    yield Finding("the app's own import, Python included", imported, "s")
    yield Finding("ten lines with --app, beyond that import", app - imported, "s", at_most=0.15)
    yield Finding("ten lines with --routes, in all", routes, "s", at_most=0.30)
    yield Finding("--help", usage, "s")
    yield Finding("--version", version, "s")


EXPERIMENTS: dict[str, Callable[[Setting], Iterator[Finding]]] = {
    "scaling": scaling,
    "formats": formats,
    "gz": gz,
    "memory": memory,
    "startup": startup,
}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(EXPERIMENTS)}; none is all")
    parser.add_argument("--runs", type=int, default=5, help="of each, by turns (default 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="of all lengths: 0.01 for a quick look")
    parser.add_argument("--cache", type=Path, default=HERE / ".cache")
    parser.add_argument("--keep", action="store_true", help="keep the giant logs")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    unknown = set(options.names) - set(EXPERIMENTS)
    if unknown:
        parser.error(f"no such experiment: {', '.join(sorted(unknown))}; there are {', '.join(EXPERIMENTS)}")
    cache = options.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    setting = Setting(cache, ours.snapshot(cache), options.runs, options.scale, options.keep)
    rows = []
    for name in options.names or EXPERIMENTS:
        print(f"{name} …", file=sys.stderr)
        rows += [finding.cells(name) for finding in EXPERIMENTS[name](setting)]
    print(f"{measure.machine()}; medians of {options.runs} runs by turns\n")
    print(table(HEADER, rows, options.markdown))


if __name__ == "__main__":
    main()
