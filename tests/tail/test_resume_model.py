"""Any sequence of writes, rotations, crashes and runs delivers every line: once, and in order."""

from __future__ import annotations

import gzip
import os
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from resuming import Resumed

from logstatsd.tail import checkpoint

BATCH = 3


class Rotated(Resumed):
    """A log that is rotated as logrotate does it, by number, and that numbers its own lines."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.log.touch()
        self.written = 0
        self.delivered: list[int] = []
        self.crashes = 0

    def write_lines(self, to: str = "") -> None:
        """Four lines more."""
        self.append(self.written + 1, self.written + 4, to=to)
        self.written += 4

    def write_late(self) -> None:
        """A server that has not reopened its log yet."""
        if self.beside(".1").exists():
            self.write_lines(to=".1")

    def shift(self) -> None:
        """Make room for a new `.1`."""
        for number in range(20, 0, -1):
            for ending in ("", ".gz"):
                if self.beside(f".{number}{ending}").exists():
                    self.rename(f".{number + 1}{ending}", source=f".{number}{ending}")

    def create(self) -> None:
        """Rotate by renaming."""
        self.shift()
        self.rename(".1")
        self.log.touch()

    def truncate(self) -> None:
        """Rotate by copying."""
        self.shift()
        self.copytruncate(".1")

    def compress(self) -> None:
        """Compress the generations but the newest (delaycompress)."""
        for number in range(2, 20):
            if (plain := self.beside(f".{number}")).exists():
                packed, time_ns = self.beside(f".{number}.gz"), plain.stat().st_mtime_ns
                packed.write_bytes(gzip.compress(plain.read_bytes()))
                os.utime(packed, ns=(time_ns, time_ns))
                plain.unlink()

    def resume(self) -> None:
        """A run that ends."""
        self.delivered += self.run(max_lines=BATCH)

    def crash(self) -> None:
        """A run that dies after it delivered a batch, before it moved the checkpoint."""
        self.delivered += self.run(max_lines=BATCH, crash_after=BATCH)
        self.crashes += 1


STEADY = [Rotated.write_lines, Rotated.create, Rotated.truncate, Rotated.compress, Rotated.resume]
ROUGH = [*STEADY, Rotated.write_late, Rotated.crash]


def after(steps: list) -> Rotated:
    """A log after these steps and two last runs, the second for what is written late."""
    # What is on disk after a loss of power is another test's matter; without syncing this one is fast.
    with tempfile.TemporaryDirectory() as directory, mock.patch.object(checkpoint.os, "fsync"):
        log = Rotated(Path(directory))
        for step in [Rotated.resume, *steps, Rotated.resume, Rotated.resume]:
            step(log)
    return log


@settings(max_examples=40)
@given(st.lists(st.sampled_from(STEADY), max_size=14))
def test_every_line_once_and_in_order(steps: list) -> None:
    log = after(steps)
    assert log.delivered == list(range(1, log.written + 1))


@settings(max_examples=40)
@given(st.lists(st.sampled_from(ROUGH), max_size=14))
def test_late_lines_and_crashes_lose_nothing_and_repeat_a_batch_each(steps: list) -> None:
    log = after(steps)
    assert set(log.delivered) == set(range(1, log.written + 1))
    assert len(log.delivered) <= log.written + BATCH * log.crashes
