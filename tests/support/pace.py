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
WARM_UP_S = 12.0
"""Until what is remembered of labels and durations, which is bounded, is full: every line here is new."""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Pace(NamedTuple):
    """What was seen while it followed."""

    behind_s: float
    first_rss: int
    last_rss: int
    cpu_share: float

    def __str__(self) -> str:
        return (
            f"at most {self.behind_s:.2f} s behind; {self.first_rss / 1e6:.1f} MB at first, "
            f"{self.last_rss / 1e6:.1f} MB at last; {self.cpu_share:.1%} of a processor"
        )


def pace(directory: Path, seconds: float, warm_up_s: float = WARM_UP_S) -> Pace:
    """Follow for so long. Behind is what was written and did not arrive, at the speed it is written."""
    log = directory / "access.log"
    log.touch()
    reader = Replay(directory)
    following = subprocess.Popen(reader.command(follows=True))
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(log), str(LINES_PER_S)], stdout=subprocess.DEVNULL
    )
    try:
        time.sleep(warm_up_s)
        begin, first, used = time.monotonic(), _rss(following.pid), _cpu_s(following.pid)
        behind = 0.0
        while time.monotonic() - begin < seconds:
            behind = max(behind, (_written(log) - len(reader.came)) / LINES_PER_S)
            time.sleep(0.02)
        used = _cpu_s(following.pid) - used
        return Pace(behind, first, _rss(following.pid), used / seconds)
    finally:
        for process in (writer, following):
            process.terminate()
            process.wait()


def _written(log: Path) -> int:
    """How many lines it has, by the number in the last one."""
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
        print(pace(Path(directory), parser.parse_args().seconds))


if __name__ == "__main__":
    main()
