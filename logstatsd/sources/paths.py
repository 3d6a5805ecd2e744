"""Expand paths, globs and folders of rotated logs to the files to read, each log's in time order."""

from __future__ import annotations

import difflib
import glob
import os
import pwd
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from logstatsd.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STDIN = "-"

_COMPRESSED = re.compile(r"\.(?:gz|bz2|xz|zst|zstd)$", re.IGNORECASE)
# logrotate's dateext and dateformat (-%Y%m%d, -%Y%m%d%H, -%s, ...), cronolog's and Python's 2026-11-20.
_DATE = re.compile(
    r"(?<!\d)(?:20\d\d([-_.]?)[01]\d\1[0-3]\d(?:[-_T]?\d\d(?:[-_:.]?\d\d){0,2}|[-_]\d{10})?|1\d{9})(?!\d)"
)
_NUMBER = re.compile(r"\.(\d+)(?=\.|$)")
_SEPARATORS = re.compile(r"[-_.]+")
_ERROR_LOG = re.compile(r"(?:^|[-_.])errors?(?:[-_.]|$)", re.IGNORECASE)

Age = tuple[bool, str, int]


def expand(paths: Sequence[str]) -> list[str]:
    """List the files that `paths` stand for: files, globs (`**` too), folders of rotated logs, `-` for stdin.

    Files of one log (same folder, same name but for date, number and compression) come oldest first, in
    whatever order they were given; logs come in the order in which they were first named. In a folder or a
    glob, a compressed file beside its plain self is left out: logrotate is at work, or `gzip -k` was. A
    folder's error logs are left out unless it holds nothing else.

    Raises InputError for what is missing, empty or not readable.
    """
    logs: dict[tuple[str, str], list[tuple[Age, str]]] = {}
    for path in dict.fromkeys(file for given in paths for file in _files(given)):
        folder, name = os.path.split(path)
        log, age = split_rotation(name)
        logs.setdefault((folder, log), []).append((age, path))
    return [path for files in logs.values() for _, path in sorted(files)]


def split_rotation(name: str) -> tuple[str, Age]:
    """Split a file's name into the log that it belongs to, and its place in time, which sorts oldest first.

    >>> split_rotation("access.log.2.gz")
    ('access.log', (True, '', -2))
    >>> split_rotation("access-2026-11-20.log")
    ('access.log', (False, '20261120', 0))
    """
    log = _COMPRESSED.sub("", name)
    date, number = "", 0
    if found := _DATE.search(log):
        date = re.sub(r"\D", "", found[0])
        log = log[: found.start()] + log[found.end() :]
    # More than one number is an address or a version, not a rotation.
    if len(numbers := list(_NUMBER.finditer(log))) == 1:
        number = int(numbers[0][1])
        log = log[: numbers[0].start()] + log[numbers[0].end() :]
    return _SEPARATORS.sub(".", log).strip("."), (not date, date, -number)


def _files(given: str) -> list[str]:
    if given == STDIN:
        return [STDIN]
    try:
        mode = Path(given).stat().st_mode
    except PermissionError:
        raise unreadable(given) from None
    except (OSError, ValueError):
        return _matches(given)
    return _in_folder(given) if stat.S_ISDIR(mode) else [given]


def _matches(pattern: str) -> list[str]:
    found = glob.glob(pattern, recursive=True) if glob.has_magic(pattern) else []  # noqa: PTH207
    files = _without_twins(path for path in found if not Path(path).is_dir())
    if not files:
        raise _missing(pattern)
    return files


def _in_folder(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_file() and entry.name[0] != "."]
    except PermissionError:
        raise unreadable(folder) from None
    names = [name for name in names if not _ERROR_LOG.search(split_rotation(name)[0])] or names
    if not names:
        raise InputError(
            f"{folder}: no file in this folder; name a log, or a glob such as '{folder}/**/*.log*'"
        )
    return _without_twins(str(Path(folder, name)) for name in names)


def _without_twins(paths: Iterable[str]) -> list[str]:
    files = set(paths)
    return sorted(
        path for path in files if (plain := _COMPRESSED.sub("", path)) == path or plain not in files
    )


def unreadable(path: str) -> InputError:
    """Explain why a file may not be read: whose it is, and what to do about it."""
    folders = reversed(Path(path).absolute().parents)
    closed = (folder for folder in folders if not os.access(folder, os.X_OK, effective_ids=True))
    barrier = next(closed, Path(path))
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
        owner, group, mode = barrier.owner(), barrier.group(), barrier.stat().st_mode
    except (OSError, KeyError):
        return InputError(f"{path}: you may not read it; use sudo")
    join = f"join that group (sudo usermod -aG {group} {user}, then log in again) or " if mode & 0o040 else ""
    return InputError(
        f"{path}: {user} may not read it, {barrier} is {owner}'s, group {group}; {join}use sudo"
    )


def _missing(path: str) -> InputError:
    parent = Path(path).parent
    what = "no file matches this" if glob.has_magic(path) else "no such file"
    try:
        names = sorted(entry.name for entry in parent.iterdir())
    except (OSError, ValueError):
        return InputError(f"{path}: {what}, nor a folder {parent}; check the spelling")
    near = difflib.get_close_matches(Path(path).name, names, n=3, cutoff=0.6)
    hint = (
        f"did you mean {', '.join(near)}" if near else f"{parent} holds {', '.join(names[:5]) or 'nothing'}"
    )
    return InputError(f"{path}: {what}; {hint}{', ...' if not near and len(names) > 5 else ''}")
