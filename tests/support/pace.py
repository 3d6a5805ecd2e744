"""`replay --follow` of a log that grows by 20,000 lines a second: how far behind, what memory, what CPU.

python tests/support/pace.py --seconds 60
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from campaign import WRITER, Replay, numbers

LINES_PER_S = 20_000
WARM_UP_LINES = 240_000
"""Until what is remembered of labels and durations, which is bounded, is full: every line here is new."""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Pace(NamedTuple):
    """Figures of a run that followed."""

    behind_s: float
    """How long it took, at most, until a line arrived: that depends on what else the machine has to do."""
    first_rss: int
    last_rss: int
    cpu_share: float
    """How much of a processor it needs for so many lines a second: that does not."""

    def __str__(self) -> str:
        return (
            f"at most {self.behind_s:.2f} s behind; {self.first_rss / 1e6:.1f} MB at first, "
            f"{self.last_rss / 1e6:.1f} MB at last; {self.cpu_share:.1%} of a processor"
        )


def pace(directory: Path, lines: int, warm_up_lines: int = WARM_UP_LINES) -> Pace:
    """Follow until so many lines have arrived. Behind are those that were written and have not."""
    log = directory / "access.log"
    log.touch()
    reader = Replay(directory)
    following = subprocess.Popen([*reader.command(follows=True), "-q"])
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(log), str(LINES_PER_S)], stdout=subprocess.DEVNULL
    )
    try:
        _behind(log, reader, warm_up_lines)
        begin, first, used_s = len(reader.came), _rss(following.pid), _cpu_s(following.pid)
        behind = _behind(log, reader, warm_up_lines + lines)
        used_s = _cpu_s(following.pid) - used_s
        share = used_s * LINES_PER_S / (len(reader.came) - begin)
        return Pace(behind / LINES_PER_S, first, _rss(following.pid), share)
    finally:
        for process in (writer, following):
            process.terminate()
            process.wait()


def _behind(log: Path, reader: Replay, lines: int) -> int:
    """Wait until so many lines have arrived; return how many were on their way at most."""
    behind = 0
    give_up_s = time.monotonic() + 60 + 4 * lines / LINES_PER_S
    while (came := len(reader.came)) < lines:
        if came:
            behind = max(behind, _written(log) - came)
        if time.monotonic() > give_up_s:
            raise TimeoutError(f"{came:,} of {lines:,} lines arrived")
        time.sleep(0.02)
    return behind


def _written(log: Path) -> int:
    """Count the lines of a log by the number in its last one."""
    with log.open("rb") as file:
        file.seek(-500, os.SEEK_END)
        return 1 + list(numbers(file.read()))[-1]


def _rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _cpu_s(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()[11:13]
    return (int(user) + int(system)) / TICKS_PER_S


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    with tempfile.TemporaryDirectory() as directory:
        print(pace(Path(directory), int(parser.parse_args().seconds * LINES_PER_S)))


if __name__ == "__main__":
    main()
