"""Where our own CPU time goes: the functions of each stage, timed in this process, with one job."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import time
from collections import defaultdict
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Stage and the functions that belong to it; a stage's time is its own, without that of the stages it calls.
STAGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("detect the format", ("logstatsd.formats.detect:detect",)),
    ("read", ("logstatsd.sources.source:Chunk.read",)),
    (
        "match lines",
        ("logstatsd.formats.text_reader:TextReader.rows", "logstatsd.formats.json_reader:JsonReader.rows"),
    ),
    ("tally", ("logstatsd.scan.scanner:Scanner.scan",)),
    ("times", ("logstatsd.scan.scanner:Scanner._timed",)),
    ("fold into series", ("logstatsd.scan.scanner:Scanner._fold",)),
    ("label look-ups", ("logstatsd.scan.scanner:Labels.of",)),
    ("label misses", ("logstatsd.scan.scanner:Labels.label",)),
    ("merge", ("logstatsd.report.summary:Summary.add",)),
    ("render", ("logstatsd.report.render:rows",)),
)
REST = "start-up and the rest"


class Stopwatch:
    """Charges the CPU time that passes to one stage, the innermost."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._stack = [REST]
        self._mark = time.process_time()

    def _charge(self) -> None:
        now = time.process_time()
        self.seconds[self._stack[-1]] += now - self._mark
        self._mark = now

    def enter(self, stage: str) -> None:
        """Begin a stage inside the present one."""
        self._charge()
        self._stack.append(stage)

    def leave(self) -> None:
        """End the present stage."""
        self._charge()
        self._stack.pop()

    def wrap(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        """Time a function; of a generator, the time it runs, not that of whoever takes its items."""

        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            self.enter(stage)
            try:
                return function(*arguments, **named)
            finally:
                self.leave()

        @functools.wraps(function)
        def generating(*arguments: Any, **named: Any) -> Iterator[Any]:
            items = function(*arguments, **named)
            step = self.wrap(functools.partial(next, items, StopIteration), stage)
            yield from iter(step, StopIteration)

        return generating if inspect.isgeneratorfunction(function) else timed


def replace(watch: Stopwatch, stage: str, name: str) -> None:
    """Put a timed function in the place of the one so named, `module:Class.function`."""
    module, _, path = name.partition(":")
    *owners, last = path.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    setattr(owner, last, watch.wrap(getattr(owner, last), stage))


def profile(log: Path, routes: Path) -> dict[str, float]:
    """Report a log in this process; give the CPU seconds of each stage."""
    watch = Stopwatch()
    for stage, names in STAGES:
        for name in names:
            replace(watch, stage, name)
    cli = importlib.import_module("logstatsd.cli").cli
    command = ["report", str(log), "--routes", str(routes), "--json", "--jobs", "1"]
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        cli(command, prog_name="logstatsd", standalone_mode=False)
    watch.enter(REST)
    return dict(watch.seconds)


def lines(seconds: dict[str, float]) -> list[list[str]]:
    """Write the stages as cells, the longest first."""
    total = sum(seconds.values())
    return [
        [stage, f"{spent:.3f}", f"{spent / total:.0%}"]
        for stage, spent in sorted(seconds.items(), key=lambda pair: -pair[1])
    ]
