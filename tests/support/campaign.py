"""The fault campaign: a writer at full speed, real logrotate in every mode, and a reader that is killed.

    python tests/support/campaign.py --kills 200 --seed 7

Every line that is in any surviving generation must have been delivered; what copytruncate itself lost between
its copy and its truncate is in none of them. Prints the figures, one line a mode; exits 1 if a line is lost,
a kill repeats more than one batch, or a checkpoint cannot be read.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from places import SAMPLE_LOGS, SUPPORT
from servers import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 10_000
MODES = {
    "create": "create",
    "create compress": "create\ncompress",
    "create delaycompress": "create\ncompress\ndelaycompress",
    "dateext": "create\ndateext\ndateformat -%Y%m%d-%s",
    "dateext compress": "create\ndateext\ndateformat -%Y%m%d-%s\ncompress",
    "dateext delaycompress": "create\ndateext\ndateformat -%Y%m%d-%s\ncompress\ndelaycompress",
    "copytruncate": "copytruncate",
    "copytruncate compress": "copytruncate\ncompress",
    "copytruncate delaycompress": "copytruncate\ncompress\ndelaycompress",
    "copytruncate dateext": "copytruncate\ndateext\ndateformat -%Y%m%d-%s",
}
# One line a number: nginx's combined format with the number as $request_time, in milliseconds.
WRITER = r"""
import os, signal, sys, time
path, lines_per_s = sys.argv[1], float(sys.argv[2])
open_log = lambda: os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
fd, stop, reopen = open_log(), [], []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
signal.signal(signal.SIGHUP, lambda *_: reopen.append(1))
number, begin = 0, time.monotonic()
while not stop:
    if reopen:
        reopen.clear(); os.close(fd); fd = open_log()
    lines = (b'192.0.2.7 - - [22/Nov/2026:13:00:00 +0000] "GET /users/%d HTTP/1.1" 200 512 "-" "-" %d.%03d\n'
             % (n % 977, n // 1000, n % 1000) for n in range(number, number + 40))
    os.write(fd, b"".join(lines))
    number += 40
    if number > (time.monotonic() - begin) * lines_per_s:
        time.sleep(0.002)
print(number)
"""
NUMBER = re.compile(rb" (\d+)\.(\d{3})$", re.MULTILINE)
OPENERS = {".gz": gzip.open, ".bz2": bz2.open}


@dataclass
class Figures:
    """Figures of the campaign in one mode."""

    mode: str
    kills: int = 0
    rotations: int = 0
    written: int = 0
    surviving: int = 0
    lost: int = 0
    repeated: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        most, average = max(self.repeated, default=0), sum(self.repeated) / max(1, self.kills)
        return (
            f"{self.mode:26} {self.kills:4} kills {self.rotations:4} rotations {self.written:10,} written "
            f"{self.written - self.surviving:8,} lost by logrotate {self.lost:4,} lost by us; "
            f"repeated a kill {average:8,.1f}, at most {most:6,}"
        )

    @property
    def good(self) -> bool:
        """Tell whether nothing was lost, no kill repeated more than a batch, and no generation was missed."""
        return not self.lost and max(self.repeated, default=0) <= BATCH and not self.notes


class Reader(Protocol):
    """The command under test, for a log in a directory, and what it has delivered so far."""

    def __init__(self, directory: Path) -> None: ...
    def command(self, *, follows: bool) -> list[str]: ...
    def mark(self) -> int: ...
    def delivered(self, begin: int, end: int) -> Iterator[int]: ...


class StandIn:
    """consumer.py, which appends to a file; a mark is its size."""

    def __init__(self, directory: Path) -> None:
        self.out = directory / "out"
        self.out.touch()
        self.names = [str(directory / "access.log"), str(directory / "state.json"), str(self.out)]

    def command(self, *, follows: bool) -> list[str]:
        """Return the command that runs it."""
        return [sys.executable, str(SUPPORT / "consumer.py"), *self.names, *(["--follow"] if follows else [])]

    def mark(self) -> int:
        """Return how far its delivery has come."""
        return self.out.stat().st_size

    def delivered(self, begin: int, end: int) -> Iterator[int]:
        """The numbers of the lines that it delivered between two marks."""
        with self.out.open("rb") as file:
            file.seek(begin)
            yield from numbers(file.read(end - begin))


class Replay:
    """`logstatsd replay`, which delivers to a socket of ours; a mark is the number of timings that came."""

    def __init__(self, directory: Path) -> None:
        self.came = array("q")
        address, routes = directory / "statsd.sock", directory / "routes.json"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        threading.Thread(target=self._receive, daemon=True).start()
        program = [sys.executable, "-m", "logstatsd"]
        making = [
            *program,
            "routes",
            "--app",
            str(SAMPLE_LOGS / "shop.py"),
            "-o",
            str(routes),
        ]
        subprocess.run(making, check=True, capture_output=True)
        where = [
            "--routes",
            str(routes),
            "--socket",
            str(address),
            "--checkpoint",
            str(directory / "state.json"),
        ]
        self._command = [*program, "replay", str(directory / "access.log"), *where, "-q"]

    def _receive(self) -> None:
        while datagram := self._socket.recv(65_536):
            self.came.extend(
                int(value) for value in re.findall(rb"^[^:]+:(\d+)(?:\.0*)?\|", datagram, re.MULTILINE)
            )

    def command(self, *, follows: bool) -> list[str]:
        """Return the command that runs it."""
        return [*self._command, "--follow" if follows else "--resume"]

    def mark(self) -> int:
        """Count what came, once no more does: what a killed run has sent may still be on its way."""
        before = -1
        while before != (before := len(self.came)):
            time.sleep(0.05)
        return before

    def delivered(self, begin: int, end: int) -> Iterator[int]:
        """The numbers that came between two marks."""
        return iter(self.came[begin:end])


READERS: dict[str, type[Reader]] = {"stand-in": StandIn, "replay": Replay}


def numbers(content: bytes) -> Iterator[int]:
    """The numbers of the whole lines."""
    return (int(seconds) * 1000 + int(ms) for seconds, ms in NUMBER.findall(content))


def campaign(
    mode: str,
    directory: Path,
    *,
    kills: int,
    seed: int,
    lines_per_s: float = 50_000,
    make_reader: type[Reader] = StandIn,
) -> Figures:
    """Run one mode in an empty directory until so many runs were killed, then let one run end."""
    chance, figures, log = random.Random(f"{seed} {mode}"), Figures(mode), directory / "access.log"
    log.touch()
    reader = make_reader(directory)
    command = [sys.executable, "-c", WRITER, str(log), str(lines_per_s)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    # What was rotated before the very first run is not for it to read.
    subprocess.run(reader.command(follows=False), check=True)
    stop = threading.Event()
    rotating = threading.Thread(target=_rotate, args=(mode, directory, writer.pid, chance, stop, figures))
    rotating.start()
    marks = [0, reader.mark()]
    try:
        while figures.kills < kills:
            figures.kills += _run_and_kill(reader, directory, chance, figures)
            marks.append(reader.mark())
    finally:
        stop.set()
        rotating.join()
        writer.send_signal(signal.SIGTERM)
        figures.written = int(writer.communicate()[0])
    # The last lines may be in a file that the writer left late: a second run picks those up.
    for _ in range(2):
        ended = subprocess.run(reader.command(follows=False), check=True, capture_output=True, text=True)
        figures.notes += ended.stderr.splitlines()
        marks.append(reader.mark())
    _account(figures, reader, marks, directory)
    return figures


def _rotate(
    mode: str, directory: Path, writer: int, chance: random.Random, stop: threading.Event, figures: Figures
) -> None:
    config = directory / "logrotate.conf"
    reopen = "" if "copytruncate" in mode else f"postrotate\nkill -HUP {writer}\nendscript\n"
    config.write_text(f'"{directory / "access.log"}" {{\nrotate 500\nmissingok\n{MODES[mode]}\n{reopen}}}\n')
    while not stop.wait(chance.uniform(0.1, 1.2)):
        command = [
            path_of("logrotate") or "logrotate",
            "-f",
            "-s",
            str(directory / "logrotate.state"),
            str(config),
        ]
        subprocess.run(command, check=False, capture_output=True)
        figures.rotations += 1


def _run_and_kill(reader: Reader, directory: Path, chance: random.Random, figures: Figures) -> int:
    """Start a run and kill it at a random moment, if it has not ended by then; the number of kills."""
    command = reader.command(follows=chance.random() < 0.7)
    errors = directory / "stderr"
    with errors.open("wb") as stderr:
        run = subprocess.Popen(command, stderr=stderr)
    time.sleep(chance.uniform(0.05, 0.6))
    run.kill()
    status = run.wait()
    figures.notes += errors.read_text().splitlines()
    if status not in {0, -signal.SIGKILL}:
        figures.notes.append(f"a run ended with {status}")
    return status == -signal.SIGKILL


def _account(figures: Figures, reader: Reader, marks: list[int], directory: Path) -> None:
    seen = bytearray(figures.written)
    for begin, end in pairwise(marks):
        repeated = 0
        for number in reader.delivered(begin, end):
            repeated += seen[number]
            seen[number] = 1
        figures.repeated.append(repeated)
    for path in directory.glob("access.log*"):
        with OPENERS.get(path.suffix, open)(path, "rb") as file:
            surviving = list(numbers(file.read()))
        lost = [number for number in surviving if not seen[number]]
        figures.surviving += len(surviving)
        figures.lost += len(lost)
        if lost:
            figures.notes.append(
                f"{path.name}: {len(lost):,} lines between {lost[0]} and {lost[-1]} are lost"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="kills in all, spread over the modes")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--lines-per-second", type=float, default=50_000)
    parser.add_argument("--mode", choices=MODES, action="append")
    parser.add_argument("--reader", choices=READERS, default="replay")
    options = parser.parse_args()
    modes = options.mode or list(MODES)
    good = True
    for mode in modes:
        with tempfile.TemporaryDirectory() as directory:
            figures = campaign(
                mode,
                Path(directory),
                kills=-(-options.kills // len(modes)),
                seed=options.seed,
                lines_per_s=options.lines_per_second,
                make_reader=READERS[options.reader],
            )
        print(figures, *sorted(set(figures.notes)), sep="\n  ", flush=True)
        good = good and figures.good
    sys.exit(not good)


if __name__ == "__main__":
    main()
