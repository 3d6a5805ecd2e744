"""Logs that are read on: which they are, and the scanner of each."""

from __future__ import annotations

import glob
import itertools
import os
from pathlib import Path

from logstatsd.errors import OptionError
from logstatsd.tail.rotated import is_rotated


def followed(paths: tuple[str, ...]) -> list[str]:
    """The logs to read on, by absolute path and each once; a pattern stands for those there are.

    Raises OptionError for stdin, and for a rotated file beside its log: its lines would be sent again at the
    next rotation, under its next name.
    """
    if "-" in paths:
        raise OptionError("--resume and --follow: only a file can be read on from where a run stopped")
    found = (match for path in paths for match in sorted(glob.glob(path)) or [path])  # noqa: PTH207
    logs = list(dict.fromkeys(map(os.path.abspath, found)))
    for one, other in itertools.permutations(map(Path, logs), 2):
        if one.parent == other.parent and is_rotated(other.name, one.name):
            raise OptionError(f"{other}: is read as a rotated file of {one.name} already; leave it out")
    return logs
