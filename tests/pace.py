"""Follow a log that grows by 20,000 lines a second: how far behind, how much memory, how much CPU.

python tests/pace.py --seconds 60
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

from campaign import WRITER, Reader, StandIn

LINES_PER_S = 20_000
WARM_UP_S = 1.0
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


def pace(directory: Path, seconds: float, make_reader: type[Reader] = StandIn) -> Pace:
    """Follow for so long. Behind is the part of the log that is not delivered, at the speed it is written."""
    log = directory / "access.log"
    log.touch()
    reader = make_reader(directory)
    following = subprocess.Popen(reader.command(follows=True))
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(log), str(LINES_PER_S)], stdout=subprocess.DEVNULL
    )
    try:
        time.sleep(WARM_UP_S)
        begin, first, used = time.monotonic(), _rss(following.pid), _cpu_s(following.pid)
        behind = 0.0
        while (passed := time.monotonic() - begin) < seconds:
            behind = max(
                behind, (log.stat().st_size - reader.mark()) / log.stat().st_size * (passed + WARM_UP_S)
            )
            time.sleep(0.02)
        used = _cpu_s(following.pid) - used
        return Pace(behind, first, _rss(following.pid), used / seconds)
    finally:
        for process in (writer, following):
            process.terminate()
            process.wait()


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
