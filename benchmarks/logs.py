"""The logs that are measured: written once into the cache, and warm when they are needed."""

from __future__ import annotations

import gzip
import shutil
from typing import TYPE_CHECKING

from generate import FORMATS, generate

if TYPE_CHECKING:
    from pathlib import Path

TRUTH_UP_TO = 10_000_000  # lines; beyond, only memory and time are looked at


def ensure(cache: Path, lines: int, layout: str = "nginx", kind: str = "usual") -> Path:
    """Give a log, writing it first if it is not there."""
    log = cache / "logs" / f"{layout}-{kind}-{lines}.log"
    if not log.exists():
        log.parent.mkdir(parents=True, exist_ok=True)
        partial = log.with_suffix(".partial")
        generate(partial, lines, FORMATS[layout], kind, truth=lines <= TRUTH_UP_TO)
        truth = partial.with_name(partial.name + ".truth.json")
        if truth.exists():
            truth.rename(log.with_name(log.name + ".truth.json"))
        partial.rename(log)
    return log


def remove(log: Path) -> None:
    """Remove a log and its truth."""
    for path in (log, log.with_name(log.name + ".truth.json")):
        path.unlink(missing_ok=True)


def compressed(log: Path) -> Path:
    """Give the log, gzipped."""
    packed = log.with_name(log.name + ".gz")
    if not packed.exists():
        with log.open("rb") as plain, gzip.open(packed, "wb", compresslevel=6) as out:
            shutil.copyfileobj(plain, out, 1 << 20)
    return packed
