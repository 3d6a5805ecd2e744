"""Run a command: how long it takes, what CPU time it uses, how much memory it and all its children hold."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

SAMPLE_EVERY = 0.02


class Run(NamedTuple):
    """One run; CPU seconds are user's and system's, with those of waited-for children."""

    wall: float
    cpu: float
    output: str


def timed(command: Sequence[str], stdin: Path | None = None) -> Run:
    """Run a command, undisturbed by any sampling."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors, open_input(stdin) as source:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=source, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise OSError(f"{command[0]} ended with {process.returncode}: {tail(errors)}")
        output.seek(0)
        return Run(wall, usage.ru_utime + usage.ru_stime, output.read().decode("utf-8", "replace"))


def open_input(path: Path | None):
    """Open what the command reads as its input."""
    return Path(path or os.devnull).open("rb")


def tail(file) -> str:
    """Give the last words of an error output."""
    file.seek(0)
    return file.read().decode("utf-8", "replace").strip()[-400:]


def peak_memory(command: Sequence[str], stdin: Path | None = None) -> int:
    """Run a command; give the highest sum, over its process tree, of proportional set sizes in bytes."""
    peak = 0
    with open_input(stdin) as source:
        process = subprocess.Popen(
            command, stdin=source, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None:
            peak = max(peak, sum(map(proportional, tree(process.pid))))
            time.sleep(SAMPLE_EVERY)
    return peak


def tree(pid: int) -> list[int]:
    """Give a process and all its descendants."""
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        try:
            for task in Path(f"/proc/{found[-1]}/task").iterdir():
                waiting.extend(map(int, (task / "children").read_text().split()))
        except OSError:
            continue
    return found


def proportional(pid: int) -> int:
    """Give what a process holds, pages that it shares divided by those who share them."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:")), 0)


def warm(log: Path) -> None:
    """Read a log, so that it is in the page cache."""
    with log.open("rb") as file:
        while file.read(1 << 24):
            pass


def machine() -> str:
    """Say in words what this was measured on, and when."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "unknown CPU",
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    return (
        f"{time.strftime('%d %B %Y')}; {cores} cores of {model}; {memory:.0f} GB of memory; "
        f"load when it began {load:.1f}"
    )
