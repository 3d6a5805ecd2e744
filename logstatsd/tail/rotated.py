"""List the files of a log, the live one and its rotated generations, and read them, plain or compressed."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from logstatsd.errors import InputError
from logstatsd.sources import compression as compressed
from logstatsd.sources.compression import PLAIN
from logstatsd.sources.paths import split_rotation, unreadable
from logstatsd.tail.checkpoint import TAIL_BYTES, PassedLines, Point, Position, tail_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

READ_BYTES = 2 << 20
_SETTLE_TRIES = 100
_SETTLE_S = 0.005

# What rotation adds to a name: a number (logrotate, savelog, newsyslog), a date (dateext, cronolog, Python's
# handlers) in any digits and separators, or a word; before the extension too (logrotate's `extension`).
_COMPRESSED_NAME = re.compile(r"\.(gz|bz2|xz|zst|zstd|Z|lz4)$")
_AFTER_NAME = re.compile(r"[._-]?(\d[\dTZ:._+-]*|old|bak|prev)$")
_BEFORE_EXTENSION = re.compile(r"(\.\d[\dTZ:._+-]*|[_-]\d{6}[\dTZ:._+-]*|[_-]\d{4}-\d\d[\dTZ:._+-]*)$")
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_IDENTITY_BYTES = 512
_MAGICS = compressed.MAGIC_LENGTH


class OvertakenError(Exception):
    """A file was renamed, removed or truncated between two looks at it: look again."""


class Fingerprint(NamedTuple):
    """The bytes just before an offset, at most TAIL_BYTES of them."""

    offset: int
    data: bytes

    @property
    def point(self) -> Point:
        """The part of it that is remembered."""
        return Point(self.offset, tail_hash(self.data))


class FileOnDisk:
    """What a file of a log is and was when it was listed; opened when its bytes are first asked for."""

    def __init__(self, path: Path, status: os.stat_result, *, live: bool) -> None:
        self.path = path
        self.live = live
        self.named = True
        self.device, self.inode = status.st_dev, status.st_ino
        self.size, self.mtime_ns = status.st_size, status.st_mtime_ns
        self.damage = self.problem = ""
        self._fd: int | None = None
        self._kind: str | None = None
        self._head: bytes | None = None

    def __repr__(self) -> str:
        return f"LogFile({self.path}, inode={self.inode}, size={self.size}, live={self.live})"

    @property
    def fd(self) -> int:
        """The open file. Raises OvertakenError if the name has become another file's, InputError."""
        if self._fd is None:
            try:
                fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except FileNotFoundError:
                raise OvertakenError(self.path) from None
            except PermissionError:
                raise unreadable(str(self.path)) from None
            except OSError as error:
                raise InputError(f"{self.path}: cannot be read: {error.strerror}") from error
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) != (self.device, self.inode):
                os.close(fd)
                raise OvertakenError(self.path)
            self._fd = fd
        return self._fd

    @property
    def kind(self) -> str:
        """The compression, by its first bytes, or PLAIN. Raises InputError for what is not read."""
        if self._kind is None:
            self._kind = compressed.kind_of(str(self.path), os.pread(self.fd, _MAGICS, 0))
        return self._kind

    @property
    def head(self) -> bytes:
        """Its first bytes when this was first asked: `blocks` gives nothing of a file that has others."""
        if self._head is None:
            self._head = os.pread(self.fd, min(self.size, TAIL_BYTES), 0)
        return self._head

    def has_head(self) -> bool:
        """Whether it still begins as it did when its head was asked for, if that was."""
        return not self._head or os.pread(self.fd, len(self._head), 0) == self._head

    @property
    def is_readable(self) -> bool:
        """Whether its bytes can be had; if not, `problem` says why.

        Raises InputError where the live file's cannot.
        """
        try:
            return bool(self.kind)
        except InputError as error:
            if self.live:
                raise
            self.problem = str(error)
            return False

    @property
    def is_open(self) -> bool:
        """Whether its descriptor is held."""
        return self._fd is not None

    def close(self) -> None:
        """Close the file, if it was opened."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def held(self) -> Self:
        """Give the same file as it is now, by its open descriptor alone: its name may be gone."""
        held = type(self)(self.path, os.fstat(self.fd), live=False)
        held.named = False
        held._fd, held._kind, self._fd = self._fd, self._kind, None
        return held

    def is_same_file(self, position: Position) -> bool:
        """Whether device and inode are those of `position`: a hint, since inodes are used again."""
        return (self.device, self.inode) == (position.device, position.inode)

    def is_unchanged(self, position: Position) -> bool:
        """Whether it is the file of `position` and was not written to since."""
        as_before = (self.size, self.mtime_ns) == (position.size, position.mtime_ns)
        return as_before and self.is_same_file(position)

    @property
    def is_named_compressed(self) -> bool:
        """Whether its name is a compressed file's: a hint, without a look into it."""
        return _COMPRESSED_NAME.search(self.path.name) is not None

    @property
    def key(self) -> tuple[int, int]:
        """Device and inode."""
        return self.device, self.inode

    @cached_property
    def number(self) -> str:
        """Device, inode and size as a number of twelve digits: a hint, without a look into it."""
        return _digest(f"{self.device} {self.inode} {self.size}".encode(), 6)

    @cached_property
    def identity(self) -> str:
        """What it is known by as long as it is not written to: its number, and eight digits of its beginning.

        Raises OvertakenError, InputError.
        """
        was_open = self.is_open
        try:
            return self.number + _digest(os.pread(self.fd, _IDENTITY_BYTES, 0), 4)
        finally:
            if not was_open:
                self.close()

    def is_newer_than(self, mtime_ns: int) -> bool:
        """Whether it was changed at that time or later; a copy's time may have lost its fraction."""
        second = 1_000_000_000
        return self.mtime_ns >= (mtime_ns if self.mtime_ns % second else mtime_ns // second * second)

    def position(self, *points: Point) -> Position:
        """Make a position in this file."""
        return Position(self.device, self.inode, self.size, self.mtime_ns, points, lines=PassedLines())


class LogFile(FileOnDisk):
    """One file of a log, and its bytes, plain or compressed."""

    def fingerprints(self, offsets: Iterable[int]) -> Iterator[Fingerprint]:
        """Read the tails before these offsets, ascending, then that at the end if an offset lies beyond it.

        A plain file is read at those places only; a compressed one as far as the last of them is asked for.
        """
        ascending = sorted(set(offsets))
        if self.kind != PLAIN:
            yield from _fingerprints_within(self._decoded(), ascending)
            return
        for offset in dict.fromkeys(min(offset, self.size) for offset in ascending):
            start = max(0, offset - TAIL_BYTES)
            yield Fingerprint(offset, os.pread(self.fd, offset - start, start))

    def _decoded(self) -> Iterator[bytes]:
        try:
            yield from compressed.decoded(str(self.path), self.kind, _raw(self.fd))
        except compressed.DamagedError as error:
            self.damage = str(error)

    def beginning(self) -> Fingerprint:
        """Find where its lines begin: past the hole of NUL bytes that a writer leaves which does not append.

        Such a writer (`app > access.log`) goes on at its old offset after a copytruncate.
        """
        first = os.pread(self.fd, 1, 0) if self._head is None else self._head[:1]
        if self.kind != PLAIN or first != b"\0":
            return Fingerprint(0, b"")
        try:
            offset = os.lseek(self.fd, 0, os.SEEK_DATA)
        except OSError:  # nothing but a hole
            return Fingerprint(0, b"")
        while (block := os.pread(self.fd, TAIL_BYTES, offset)) and not block.strip(b"\0"):
            offset += len(block)
        return next(self.fingerprints([offset + len(block) - len(block.lstrip(b"\0"))]))

    def first_line(self, beginning: Fingerprint, most_bytes: int) -> bytes:
        """Read the first line from its beginning, without its newline, at most so many bytes of it."""
        if self.kind == PLAIN:
            data = os.pread(self.fd, most_bytes, beginning.offset)
        else:
            data = next(self._decoded(), b"")[:most_bytes]
        return data.partition(b"\n")[0]

    def ends_within_a_line(self) -> bool:
        """Whether its last line has no newline; False where that is not cheap to tell."""
        return self.kind == PLAIN and self.size > 0 and os.pread(self.fd, 1, self.size - 1) != b"\n"

    def last_line_end(self) -> Fingerprint:
        """Find where the line after its last newline begins, the start if it has none or is compressed."""
        stop = self.size if self.kind == PLAIN else 0
        while stop > 0:
            start = max(0, stop - READ_BYTES)
            if newline := os.pread(self.fd, stop - start, start).rfind(b"\n") + 1:
                return next(self.fingerprints([start + newline]))
            stop = start
        return Fingerprint(0, b"")

    def blocks(self, after: Fingerprint) -> Iterator[bytes]:
        """Read its bytes after a tail, uncompressed; a plain file's as far as it went when it was listed.

        Every read of a plain file takes in the bytes before it once more: truncated and filled anew under our
        hands (copytruncate), it raises OvertakenError, and nothing of the new content passes for the old.
        """
        if self.kind == PLAIN:
            return _plain_blocks(self, after)
        return _after(after.offset, self._decoded())


def _digest(data: bytes, size: int) -> str:
    return hashlib.blake2b(data, digest_size=size).hexdigest()


def close_all(files: Iterable[LogFile]) -> None:
    """Close the files that were opened."""
    for file in files:
        file.close()


def _fingerprints_within(blocks: Iterator[bytes], ascending: list[int]) -> Iterator[Fingerprint]:
    end, kept = 0, b""
    for block in blocks:
        kept, end = kept[-TAIL_BYTES:] + block, end + len(block)
        while ascending and ascending[0] <= end:
            upto = len(kept) - (end - ascending[0])
            yield Fingerprint(ascending.pop(0), kept[max(0, upto - TAIL_BYTES) : upto])
        if not ascending:
            return
    yield Fingerprint(end, kept[-TAIL_BYTES:])


def _plain_blocks(file: LogFile, after: Fingerprint) -> Iterator[bytes]:
    offset, before = after
    while offset < file.size:
        wanted = min(READ_BYTES, file.size - offset)
        data = os.pread(file.fd, len(before) + wanted, offset - len(before))
        whole = len(data) == len(before) + wanted and data.startswith(before)
        if not whole or not file.has_head():
            raise OvertakenError(file.path)
        yield data[len(before) :]
        offset, before = offset + wanted, data[-TAIL_BYTES:]


def _after(offset: int, blocks: Iterator[bytes]) -> Iterator[bytes]:
    skip = offset
    for block in blocks:
        if skip < len(block):
            yield block[skip:]
        skip = max(0, skip - len(block))


def _raw(fd: int) -> Iterator[bytes]:
    offset = 0
    while data := os.pread(fd, compressed.READ_STEP, offset):
        yield data
        offset += len(data)


def log_files(log: str) -> list[LogFile]:
    """List the files of a log at one moment, oldest first by their times, the live one (if it exists) last.

    Both the directory of the name and that of the file it links to are looked into, again until two looks
    agree, since a rotation renames one file at a time.
    """
    seen = _listing(log)
    for _ in range(_SETTLE_TRIES):
        again = _listing(log)
        if [(g.path, g.inode) for g in seen] == [(g.path, g.inode) for g in again]:
            break
        seen = again
        time.sleep(_SETTLE_S)
    return sorted(again, key=lambda g: (g.live, g.mtime_ns, split_rotation(g.path.name)[1]))


def confirm(log: str, files: Iterable[LogFile]) -> None:
    """Raise OvertakenError if a file has come, gone or shrunk since these were listed."""
    now = {file.path: file for file in _listing(log)}
    listed = {file.path: file for file in files if file.named}
    for path in now.keys() | listed.keys():
        old, new = listed.get(path), now.get(path)
        if old is None or new is None or old.inode != new.inode or new.size < old.size:
            raise OvertakenError(path)


def _listing(log: str) -> list[LogFile]:
    name, real = Path(log), Path(os.path.realpath(log))
    found: dict[tuple[int, int], LogFile] = {}
    if (status := _status(real)) is not None:
        found[status.st_dev, status.st_ino] = LogFile(real, status, live=True)
    for directory in dict.fromkeys((name.parent, real.parent)):
        for path in _rotated(directory, {name.name, real.name}):
            if (status := _status(path)) is not None:
                found.setdefault((status.st_dev, status.st_ino), LogFile(path, status, live=False))
    return list(found.values())


def _rotated(directory: Path, bases: set[str]) -> Iterator[Path]:
    names = _names(directory)
    for name in sorted(names):
        # Beside the file it is made from, a compressed file is not finished yet.
        plain = _COMPRESSED_NAME.sub("", name)
        unfinished = plain != name and plain in names
        if not unfinished and any(is_rotated(name, base) for base in bases):
            yield directory / name


def _names(directory: Path) -> set[str]:
    try:
        return set(os.listdir(directory))  # noqa: PTH208 - names are all that is needed
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise InputError(f"{directory}: cannot be listed: {error.strerror}") from error


def _status(path: Path) -> os.stat_result | None:
    try:
        status = path.stat()
    except OSError as error:
        if error.errno in _NOT_THERE:
            return None
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return status if stat.S_ISREG(status.st_mode) else None


def is_rotated(name: str, base: str) -> bool:
    """Whether `name` looks like a rotated generation of the log `base`."""
    name = _COMPRESSED_NAME.sub("", name)
    if name.startswith(base):
        return _AFTER_NAME.fullmatch(name[len(base) :]) is not None
    stem, dot, extension = base.rpartition(".")
    ending = dot + extension
    if not stem or not name.startswith(stem) or not name.endswith(ending):
        return False
    return _BEFORE_EXTENSION.fullmatch(name[len(stem) : len(name) - len(ending)]) is not None
