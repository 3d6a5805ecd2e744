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
import os
import random
import re
import shutil
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
"""The ways of logrotate, and what its configuration says of each."""
RACE, ANONYMISED = "copytruncate race", "create, then anonymised"
WAYS = [*MODES, RACE, ANONYMISED]
"""All ways of rotating: also copies and truncations so fast that as many bytes are written again meanwhile,
and rotated files that are rewritten in place or anew, without addresses."""
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
    lines = (b'192.0.2.7 - - [22/Nov/2026:13:00:00 +0000] "GET /docs/%d HTTP/1.1" 200 512 "-" "-" %d.%03d\n'
             % (n % 977, n // 1000, n % 1000) for n in range(number, number + 40))
    os.write(fd, b"".join(lines))
    number += 40
    if number > (time.monotonic() - begin) * lines_per_s:
        time.sleep(0.002)
print(number)
"""
PROGRESS = re.compile(
    r"behind$|nothing new$|^\d[\d,]* (lines|requests|timings)|first run|^StatsD timings carry|match no rule"
)
SEEMS = "seems to have been copied and truncated"
"""A new log with the inode of a file that was compressed looks so, too."""
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
    gaps: int = 0
    unsaid: int = 0

    def __str__(self) -> str:
        most, average = max(self.repeated, default=0), sum(self.repeated) / max(1, self.kills)
        return (
            f"{self.mode:26} {self.kills:4} kills {self.rotations:4} rotations {self.written:10,} written "
            f"{self.written - self.surviving:8,} lost by copytruncate "
            f"in {self.gaps:,} gaps, {self.unsaid:,} of them unsaid; {self.lost:4,} lost by us; "
            f"repeated a kill {average:8,.1f}, at most {most:6,}"
        )

    @property
    def good(self) -> bool:
        """Whether nothing was lost or left unsaid, and no kill repeated more than a batch."""
        surprises = [
            note
            for note in self.notes
            if SEEMS not in note and not (self.truncates and "copytruncate" in note)
        ]
        return not self.lost and not self.unsaid and self.most_repeated <= BATCH and not surprises

    @property
    def truncates(self) -> bool:
        """Whether the log is copied and truncated."""
        return "copytruncate" in self.mode

    @property
    def most_repeated(self) -> int:
        """The most lines that a run sent a second time."""
        return max(self.repeated, default=0)


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
        self._command = [*program, "replay", str(directory / "access.log"), *where, "--from", "start"]

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
    began_s = time.monotonic()
    subprocess.run(reader.command(follows=False), check=True, capture_output=True)
    start_s = time.monotonic() - began_s
    stop = threading.Event()
    rotating = threading.Thread(target=_rotate, args=(mode, directory, writer.pid, chance, stop, figures))
    rotating.start()
    marks, told = [0, reader.mark()], [[]]
    try:
        while figures.kills < kills:
            killed, notes = _run_and_kill(reader, directory, chance, start_s)
            figures.kills += killed
            told.append(notes)
            marks.append(reader.mark())
    finally:
        stop.set()
        rotating.join()
        writer.send_signal(signal.SIGTERM)
        figures.written = int(writer.communicate()[0])
    # The last lines may be in a file that the writer left late: a second run picks those up.
    for _ in range(2):
        ended = subprocess.run(reader.command(follows=False), check=True, capture_output=True, text=True)
        told.append(_told(ended.stderr))
        marks.append(reader.mark())
    figures.notes += [note for notes in told for note in notes]
    _account(figures, reader, marks, told, directory)
    return figures


def _rotate(
    mode: str, directory: Path, writer: int, chance: random.Random, stop: threading.Event, figures: Figures
) -> None:
    logrotate = _logrotate(directory, MODES.get(mode, MODES["create"]), writer)
    pauses_s = (0.05, 0.3) if mode == RACE else (0.1, 1.2)
    while not stop.wait(chance.uniform(*pauses_s)):
        figures.rotations += 1
        if mode == RACE:
            _copy_and_truncate(directory / "access.log", figures.rotations)
            continue
        subprocess.run(logrotate, check=False, capture_output=True)
        if mode == ANONYMISED and not stop.wait(chance.uniform(0, 0.2)):
            _anonymise(directory / "access.log.1", anew=chance.random() < 0.5)


def _logrotate(directory: Path, directives: str, writer: int) -> list[str]:
    """Write logrotate's configuration, and give its command."""
    config = directory / "logrotate.conf"
    reopen = "" if "copytruncate" in directives else f"postrotate\nkill -HUP {writer}\nendscript\n"
    config.write_text(f'"{directory / "access.log"}" {{\nrotate 9999\nmissingok\n{directives}\n{reopen}}}\n')
    return [path_of("logrotate") or "logrotate", "-f", "-s", str(directory / "logrotate.state"), str(config)]


def _copy_and_truncate(log: Path, number: int) -> None:
    """Rotate at once; as often as this, the log soon has as many bytes as before."""
    shutil.copyfile(log, log.with_name(f"{log.name}.{2_000_000_000 + number}"))
    os.truncate(log, 0)


def _anonymise(path: Path, *, anew: bool) -> None:
    """Rewrite a file's addresses, in place or in a new file of the same name."""
    content = path.read_bytes().replace(b"192.0.2.7 ", b"0.0.0.0 " if anew else b"192.0.2.0 ")
    if anew:
        beside = path.with_name("anonymous")
        beside.write_bytes(content)
        beside.replace(path)
    else:
        with path.open("r+b") as file:
            file.write(content)


def _run_and_kill(
    reader: Reader, directory: Path, chance: random.Random, start_s: float
) -> tuple[int, list[str]]:
    """Start a run and kill it at a random moment, if it has not ended by then: the kills, and its notes.

    `start_s` is about how long it takes to begin.
    """
    command = reader.command(follows=chance.random() < 0.7)
    errors = directory / "stderr"
    with errors.open("wb") as stderr:
        run = subprocess.Popen(command, stderr=stderr)
    time.sleep(chance.uniform(0.05, start_s + 0.6))
    run.kill()
    status = run.wait()
    notes = _told(errors.read_text())
    if status not in {0, -signal.SIGKILL}:
        notes.append(f"a run ended with {status}")
    return status == -signal.SIGKILL, notes


def _told(stderr: str) -> list[str]:
    """The notes of a run, without what it says of its progress."""
    return [line for line in stderr.splitlines() if not PROGRESS.search(line)]


def _account(
    figures: Figures, reader: Reader, marks: list[int], told: list[list[str]], directory: Path
) -> None:
    seen, first_run = bytearray(figures.written), array("i", [-1]) * figures.written
    for run, (begin, end) in enumerate(pairwise(marks)):
        repeated = 0
        for number in reader.delivered(begin, end):
            repeated += seen[number]
            if not seen[number]:
                seen[number], first_run[number] = 1, run
        figures.repeated.append(repeated)
    surviving = bytearray(figures.written)
    for path in directory.glob("access.log*"):
        with OPENERS.get(path.suffix, open)(path, "rb") as file:
            held = list(numbers(file.read()))
        lost = [number for number in held if not seen[number]]
        for number in held:
            surviving[number] = 1
        figures.lost += len(lost)
        if lost:
            figures.notes.append(
                f"{path.name}: {len(lost):,} lines between {lost[0]} and {lost[-1]} are lost"
            )
    figures.surviving = sum(surviving)
    _account_for_gaps(figures, surviving, first_run, told)


def _account_for_gaps(
    figures: Figures, surviving: bytearray, first_run: array[int], told: list[list[str]]
) -> None:
    """Count the gaps that no file holds; the run that first read beyond one must have told of it."""
    for number in range(1, figures.written):
        if surviving[number] and not surviving[number - 1]:
            figures.gaps += 1
            said = told[first_run[number]] if first_run[number] >= 0 else []
            figures.unsaid += not any("copytruncate" in note for note in said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="kills in all, spread over the modes")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--lines-per-second", type=float, default=50_000)
    parser.add_argument("--mode", choices=WAYS, action="append")
    parser.add_argument("--reader", choices=READERS, default="replay")
    options = parser.parse_args()
    modes = options.mode or WAYS
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
