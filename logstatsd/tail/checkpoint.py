"""Keep the checkpoint: how far each log was read, in a file that is locked and safely replaced."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from logstatsd.errors import LockedError, StateError
from logstatsd.tail import private
from logstatsd.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

KIND = "logstatsd checkpoint"
VERSION = 1
TAIL_BYTES = 4096
"""How many of the bytes before an offset are hashed to know a file again."""
KEPT_POINTS = 5
KEPT_FILES = 8
IDENTITY_LENGTH = 20
_MAX_BYTES = 16 << 20
_MOST_OFFSET = (1 << 63) - 1


class Point(NamedTuple):
    """A line's end that was passed: its offset in uncompressed bytes, and the hash of the bytes before it."""

    offset: int
    tail: str


class PassedLines(NamedTuple):
    """The lines of a file that were passed: how many, and what the first and the last look like."""

    total: int = 0
    first: str = ""
    last: str = ""


class Position(NamedTuple):
    """The place up to which one file was read, and what the file is known by.

    `size` and `mtime_ns` are the file's as last looked at. `points` are ends of lines that were passed,
    ascending; the last is where to read on, the others tell a copy that was made before that was reached.
    Without any, the file had no whole line yet: what comes to it late is to be read too.
    `done` says that a compressed file was read to its end. `lines` is None where they were not counted.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    points: tuple[Point, ...]
    done: bool = False
    lines: PassedLines | None = None

    @property
    def offset(self) -> int:
        """The place to read on from, in uncompressed bytes."""
        return self.points[-1].offset if self.points else 0

    def moved(self, *points: Point) -> Position:
        """Give this file's position after more `points`; the first and the latest few are remembered."""
        first, *rest = *self.points, *points
        return self._replace(points=(first, *rest[1 - KEPT_POINTS :]))


class LogState(NamedTuple):
    """The state of one log: its files that were read, oldest first, and its format (the caller's JSON).

    The earlier files stay known, since a server writes its last lines to them while it reopens its log.
    Without any position, what counts as unread is whatever changed at `since_ns` or later. `known` has the
    identities of the rotated files that are not to be read, whatever their times say. `truncated` is the live
    file's device and inode, once it was seen to be copied and truncated.
    """

    positions: tuple[Position, ...] = ()
    since_ns: int = 0
    format: Any = None
    known: frozenset[str] = frozenset()
    truncated: tuple[int, int] | None = None

    @property
    def newest(self) -> Position | None:
        """The position where reading stopped: the last one with a line before it."""
        return next((position for position in reversed(self.positions) if position.points), None)

    @property
    def essence(self) -> tuple[object, ...]:
        """What is worth saving by itself: not that a file that is still written to has grown."""
        positions = [position._replace(size=0, mtime_ns=0) for position in self.positions]
        return self.since_ns, positions, self.known, self.truncated

    def with_position(self, at: int, position: Position) -> LogState:
        """Give the same state with one position exchanged."""
        return self._replace(positions=(*self.positions[:at], position, *self.positions[at + 1 :]))


class Checkpoint(NamedTuple):
    """The record of what was delivered to one destination, log by log (a log is its path as given)."""

    destination: str
    logs: Mapping[str, LogState]

    def with_log(self, log: str, state: LogState) -> Checkpoint:
        """Give the same checkpoint with one log's state exchanged."""
        return self._replace(logs={**self.logs, log: state})


def tail_hash(data: bytes) -> str:
    """Hash the last `TAIL_BYTES` of `data`."""
    return hashlib.blake2b(data[-TAIL_BYTES:], digest_size=16).hexdigest()


def default_path(state_dir: str | None, logs: Sequence[str], destination: str) -> Path:
    """Name the checkpoint's file for these logs and this destination.

    The directory is `state_dir`, else systemd's $STATE_DIRECTORY, else $XDG_STATE_HOME/logstatsd, else
    ~/.local/state/logstatsd (XDG Base Directory Specification 0.8). Raises StateError where there is none.
    """
    paths = sorted(str(Path(log).absolute()) for log in logs)
    digest = hashlib.blake2b(json.dumps([paths, destination]).encode(errors="replace"), digest_size=4)
    readable = re.sub(r"[^\w.-]+", "-", f"{Path(paths[0]).name}-{destination}").strip("-")[:80]
    return _directory(state_dir) / f"{readable}-{digest.hexdigest()}.json"


def _directory(state_dir: str | None) -> Path:
    if state_dir:
        return Path(state_dir)
    if systemd := os.environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(systemd)
    if xdg := os.environ.get("XDG_STATE_HOME"):
        return Path(xdg) / "logstatsd"
    try:
        return Path.home() / ".local/state/logstatsd"
    except RuntimeError:
        raise StateError("no home directory to keep the checkpoint in; give --state-dir") from None


class Store:
    """A checkpoint file, locked for as long as it is open.

        with Store(path, "udp://127.0.0.1:8125") as store:
            store.save(store.checkpoint.with_log(log, state))

    The lock is `flock` on `<file>.lock`, which is never replaced nor removed; a crash of any kind frees it.
    Entering creates the directory, takes the lock, loads, and writes once: a directory that cannot be written
    to is found before anything is sent.

    Raises:
        LockedError: another run holds the lock, unless `wait`.
        StateError: the file is not a checkpoint (it is then left alone), is for another destination, or
            cannot be read or written.
    """

    def __init__(self, path: Path | str, destination: str, *, wait: bool = False) -> None:
        self.path = Path(path)
        self.checkpoint = Checkpoint(destination, {})
        self._wait = wait
        self._lock: int | None = None

    def __enter__(self) -> Store:
        # Before a lock is made beside a file that is not ours.
        read_checkpoint(self.path, self.checkpoint.destination)
        try:
            private.make_folder(self.path.parent)
            self._lock = private.open_lock(self.path.with_name(f"{self.path.name}.lock"))
        except OSError as error:
            raise _refusal(self.path, error) from error
        _open_locks.add(self)
        try:
            self._acquire(self._lock)
            self._remove_temporaries()
            self.checkpoint = read_checkpoint(self.path, self.checkpoint.destination) or self.checkpoint
            self.save(self.checkpoint)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the file, atomically and durably; the old one stays whole whatever happens."""
        write_checkpoint(self.path, checkpoint)
        self.checkpoint = checkpoint

    def close(self) -> None:
        """Free the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _remove_temporaries(self) -> None:
        try:
            private.remove_temporaries(self.path)
        except OSError as error:
            raise _refusal(self.path, error) from error

    def _acquire(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if self._wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise LockedError(f"{self.path}: another run holds it; --wait waits for its end") from None
        except OSError as error:
            raise _refusal(self.path, error) from error


_open_locks: weakref.WeakSet[Store] = weakref.WeakSet()


def _close_locks_in_child() -> None:
    """Close the locks in a forked worker, which may outlive its parent: flock belongs to the open file."""
    for store in list(_open_locks):
        store.close()


os.register_at_fork(after_in_child=_close_locks_in_child)


def read_checkpoint(path: Path, destination: str) -> Checkpoint | None:
    """Read the checkpoint at `path`; None where there is no file. Raises StateError as `Store` does."""
    try:
        content = private.read_bounded(path, _MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refusal(path, error) from error
    if not content.strip(b"\0 \n"):
        raise StateError(f"{path}: is blank, so where the last run stopped is lost; remove it to start anew")
    checkpoint = _decoded(path, content)
    if checkpoint.destination != destination:
        raise StateError(
            f"{path}: is for {clean(checkpoint.destination)}, not for {destination}; "
            "give each its own --checkpoint"
        )
    return checkpoint


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace `path`, atomically and durably. Raises StateError."""
    try:
        private.replace_durably(path, _encoded(checkpoint))
    except OSError as error:
        raise _refusal(path, error) from error


_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EROFS: "give --state-dir a directory that can be written to",
    errno.EACCES: "give --state-dir a directory that can be written to",
}


def _refusal(path: Path, error: OSError) -> StateError:
    remedy = _REMEDIES.get(error.errno or 0, "give another --checkpoint or --state-dir")
    return StateError(f"{path}: the checkpoint cannot be kept here: {error.strerror}; {remedy}")


def _encoded(checkpoint: Checkpoint) -> bytes:
    logs = {
        log: {
            "positions": [_position_data(position) for position in state.positions],
            "since_ns": state.since_ns,
            "format": state.format,
            "known": "".join(sorted(state.known)),
            "truncated": state.truncated,
        }
        for log, state in checkpoint.logs.items()
    }
    content = {"kind": KIND, "version": VERSION, "destination": checkpoint.destination, "logs": logs}
    return json.dumps(content, indent=1).encode() + b"\n"


def _position_data(position: Position) -> dict[str, Any]:
    return {**position._asdict(), "lines": position.lines and position.lines._asdict()}


def _decoded(path: Path, content: bytes) -> Checkpoint:
    try:
        data = json.loads(content)
        if data["kind"] != KIND:
            raise ValueError(data["kind"])
        if (version := _int(data["version"])) <= VERSION:
            logs = {_str(log): _state(entry) for log, entry in data["logs"].items()}
            return Checkpoint(_str(data["destination"]), logs)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise StateError(f"{path}: is not a checkpoint, and is left as it is; give another path") from None
    raise StateError(
        f"{path}: was written by a newer logstatsd (version {version}); use that, or another path"
    )


def _state(entry: dict[str, Any]) -> LogState:
    known, truncated = _str(entry.get("known", "")), entry.get("truncated")
    return LogState(
        tuple(map(_position, entry["positions"])),
        _int(entry["since_ns"]),
        entry["format"],
        frozenset(known[at : at + IDENTITY_LENGTH] for at in range(0, len(known), IDENTITY_LENGTH)),
        truncated and (_int(truncated[0]), _int(truncated[1])),
    )


def _position(entry: dict[str, Any]) -> Position:
    points = tuple(Point(_int(offset), _str(tail)) for offset, tail in entry["points"])
    if any(not 0 <= point.offset <= _MOST_OFFSET for point in points):
        raise ValueError(points)
    device, inode, size, mtime_ns = (_int(entry[key]) for key in ("device", "inode", "size", "mtime_ns"))
    lines = entry.get("lines")
    counted = lines and PassedLines(_int(lines["total"]), _str(lines["first"]), _str(lines["last"]))
    return Position(device, inode, size, mtime_ns, points, entry["done"] is True, counted)


def _int(value: object) -> int:
    """Take a whole number, of a size that files and clocks have."""
    if type(value) is not int or abs(value) > 1 << 64:
        raise ValueError(value)
    return value


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
