"""Read logs, files or streams, plain or compressed, as chunks of whole lines."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import stat
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from logstatsd.errors import InputError
from logstatsd.sources.bisection import bisect
from logstatsd.sources.compression import (
    MAGIC_LENGTH,
    PLAIN,
    READ_STEP,
    DamagedError,
    decoded,
    decoder,
    kind_of,
    read_ahead,
)
from logstatsd.sources.lines import LINE_LIMIT, between, gather_lines, line_end, line_start, pread, resized
from logstatsd.sources.paths import STDIN, expand, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

_Item = TypeVar("_Item")

__all__ = ["BLOCK", "LINE_LIMIT", "Chunk", "Source", "bisect", "chunks", "find", "head"]

BLOCK = 12 << 20

# Decoded chunks that wait for their turn: what bounds the memory of reading ahead.
CHUNKS_AHEAD = 2
# A pipe that is silent for so long has paused: what it said is passed on.
PAUSE_MS = 100
# By so many bytes at its end, a chunk is told from what stands in its place once the file was rewritten.
ENDING_BYTES = 64
SHRUNK = "cut short or replaced while it was read"
REWRITTEN = "rewritten while it was read"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines of one log: where they are in a plain file, or `data`, the bytes themselves.

    `offset` and `length` are in bytes of the log, uncompressed. Each line ends with a newline, except
    possibly the last of the log. A line longer than LINE_LIMIT may be in `data` by its beginning only,
    LINE_LIMIT + 1 bytes and a newline; `length` is then still the true one. `ending` is what the lines in a
    plain file ended with when they were found there.
    """

    path: str
    offset: int
    length: int
    data: bytes | None = None
    inode: int = 0
    ending: bytes = b""

    def read(self) -> bytes:
        """Return the lines, or those of them that are still there; `lost` tells what is not."""
        if self.data is not None:
            return self.data
        try:
            with self.opened() as fd:
                data = pread(fd, self.length, self.offset)
        except InputError:
            return b""
        # what is cut short may look like a whole line with another number at its end
        return data if len(data) == self.length else data[: data.rfind(b"\n") + 1]

    def lost(self, data: bytes | None = None) -> list[str]:
        """Tell what of the lines had gone from the file when their `data` was read, or has gone by now."""
        if self.data is not None:
            return []
        kept, ending = self._left() if data is None else (len(data), data[-ENDING_BYTES:])
        end = self.offset + self.length
        if kept < self.length:
            return [f"{self.path}: {SHRUNK}; bytes {self.offset + kept:,} to {end:,} are lost"]
        if not ending.endswith(self.ending):
            return [f"{self.path}: {REWRITTEN}; bytes {self.offset:,} to {end:,} are not what they were"]
        return []

    def _left(self) -> tuple[int, bytes]:
        """Return how many of the bytes are there now, and what they end with."""
        try:
            with self.opened() as fd:
                kept = min(max(os.fstat(fd).st_size - self.offset, 0), self.length)
                return kept, pread(fd, len(self.ending), self.offset + self.length - len(self.ending))
        except InputError:
            return 0, b""

    def beginning(self) -> bytes:
        """Return some of the first lines. Raises InputError."""
        if self.data is not None:
            return self.data[: LINE_LIMIT + 1]
        with self.opened() as fd:
            return pread(fd, min(self.length, LINE_LIMIT + 1), self.offset)

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """Open the file that the lines are in. Raises InputError, also for what fails while it is read."""
        try:
            fd = self._open()
            try:
                yield fd
            finally:
                os.close(fd)
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror} at byte {self.offset}; run again") from None

    def _open(self) -> int:
        """Open the file, under the name that it has now: logrotate may have renamed it."""
        fd = os.open(self.path, os.O_RDONLY)
        if not self.inode or os.fstat(fd).st_ino == self.inode:
            return fd
        os.close(fd)
        with os.scandir(Path(self.path).parent) as entries:
            renamed = next((entry.path for entry in entries if entry.inode() == self.inode), None)
        if renamed is not None:
            return os.open(renamed, os.O_RDONLY)
        raise FileNotFoundError(0, "was replaced while it was read")


@dataclass(eq=False)
class Source:
    """A log to read: a file, or a stream (stdin, a pipe) that can be read only once.

    `name` is as the user gave it; `size` what it takes on disk in bytes, None for a stream; `problems` tells,
    one line each, what could not be read, once its chunks have been.
    """

    name: str
    size: int | None
    stream: BinaryIO | None = None
    inode: int = 0
    problems: list[str] = field(default_factory=list)
    _done: int = field(default=0, repr=False)

    @cached_property
    def kind(self) -> str:
        """The kind of the log by its first bytes: PLAIN, or a key of CODECS. Raises InputError."""
        if self.stream is None:
            with self.opened() as fd:
                return kind_of(self.name, os.pread(fd, MAGIC_LENGTH, 0))
        seen: list[bytes] = []
        for step in self._stream_steps:
            seen.append(step)
            if sum(map(len, seen)) >= MAGIC_LENGTH:
                break
        self._stream_steps = itertools.chain(seen, self._stream_steps)
        return kind_of(self.name, b"".join(seen)[:MAGIC_LENGTH])

    def done_bytes(self) -> int:
        """Return how many of its bytes on disk have been read; of a stream, how many have come."""
        return self._done

    def total_bytes(self) -> int | None:
        """Return what `done_bytes` grows to, None for a stream."""
        return self.size

    def pieces(self) -> Iterator[bytes]:
        """Yield the log, decoded: a file from its start, a stream from where it is; b"" for a pause.

        It ends where the rest cannot be decoded or read; then `problems` tells what is lost.
        """
        if self.stream is None:
            self.problems.clear()
            return self._sound(self._decoded(self._file_steps))
        return self._stream_pieces

    def unread(self, pieces: list[bytes]) -> None:
        """Put back what was taken from a stream, to be read again."""
        if self.stream is not None:
            self._stream_pieces = itertools.chain(pieces, self._stream_pieces)

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """Open the file on disk. Raises InputError, also for what fails while it is read."""
        try:
            fd = os.open(self.name, os.O_RDONLY)
            try:
                yield fd
            finally:
                os.close(fd)
        except PermissionError:
            raise unreadable(self.name) from None
        except OSError as error:
            raise InputError(f"{self.name}: cannot be read: {error.strerror}") from None

    @cached_property
    def _stream_steps(self) -> Iterator[bytes]:
        return self._counted(_steps_of(self.stream)) if self.stream else iter(())

    @cached_property
    def _stream_pieces(self) -> Iterator[bytes]:
        return self._sound(self._decoded(lambda: self._stream_steps))

    def _sound(self, items: Iterator[_Item]) -> Generator[_Item]:
        """Yield items as long as the log can be read; note what is lost then."""
        try:
            yield from items
        except DamagedError as loss:
            self.problems.append(f"{self.name}: {loss}")
        except InputError as error:
            self.problems.append(f"{error}: what follows its first {self._done:,} bytes is lost")

    def _decoded(self, open_steps: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
        kind = self.kind  # before the steps are opened: of a stream, it looks at the first and puts them back
        return open_steps() if kind == PLAIN else decoded(self.name, kind, open_steps())

    def _file_steps(self) -> Iterator[bytes]:
        self._done = 0
        with self.opened() as fd:
            yield from self._counted(iter(lambda: os.read(fd, READ_STEP), b""))

    def _counted(self, steps: Iterator[bytes]) -> Iterator[bytes]:
        for step in steps:
            self._done += len(step)
            yield step


def find(paths: Sequence[str]) -> list[Source]:
    """Find the logs that `paths` name, as `paths.expand` does; a file named twice is read once.

    Raises InputError for what is missing, not readable, or compressed in a way that cannot be decoded.
    """
    sources = []
    seen = set()
    for path in expand(paths):
        source, identity = _source(path)
        if identity not in seen:
            seen.add(identity)
            sources.append(source)
    return sources


def _source(path: str) -> tuple[Source, tuple[int, int]]:
    if path == STDIN:
        return Source(STDIN, None, sys.stdin.buffer), (-1, 0)
    try:
        info = Path(path).stat()
        identity = info.st_dev, info.st_ino
        # /dev/stdin is another file in another process.
        if not stat.S_ISREG(info.st_mode) or path.startswith(("/dev/", "/proc/")):
            return Source(path, None, Path(path).open("rb", buffering=0)), identity
    except PermissionError:
        raise unreadable(path) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    source = Source(path, info.st_size, inode=info.st_ino)
    if source.kind != PLAIN:
        decoder(path, source.kind)
    return source, identity


def head(source: Source, n_bytes: int = LINE_LIMIT) -> bytes:
    """Return the first whole lines of a log, about `n_bytes` of them; a stream keeps them to be read again.

    A stream that pauses after a whole line gives what it has. Raises InputError.
    """
    taken: list[bytes] = []
    pieces = source.pieces()
    for piece in pieces:
        taken.append(piece)
        if sum(map(len, taken)) >= n_bytes or (not piece and any(b"\n" in some for some in taken)):
            break
    source.unread(taken)
    start = b"".join(taken)
    return start[: start.rfind(b"\n", 0, n_bytes) + 1] or start[:n_bytes]


def lines_at(source: Source, position: int, n_bytes: int) -> bytes:
    """Return about `n_bytes` of whole lines of a plain file, from the first that begins after a position."""
    with source.opened() as fd:
        data = pread(fd, n_bytes, position)
    return data[data.find(b"\n") + 1 : data.rfind(b"\n") + 1]


def chunks(
    source: Source, *, size: int = BLOCK, start: int = 0, stop: int | None = None, partial: bool = True
) -> Generator[Chunk]:
    """Cut a log into chunks of whole lines, of about `size` bytes, at most PIECE more.

    `start` and `stop` are starts of lines, in bytes of the log; a file is read to the size that it has now.
    `partial=False` leaves an unfinished last line for later. A live stream gives what it has at each pause.
    Raises InputError; what is lost of a damaged file goes to `source.problems`.
    """
    if source.kind == PLAIN and source.stream is None:
        return source._sound(_file_chunks(source, size, start, stop, partial))
    made = _stream_chunks(source, size, start, stop, partial)
    return made if source.kind == PLAIN else read_ahead(made, CHUNKS_AHEAD)


def _file_chunks(source: Source, size: int, start: int, stop: int | None, partial: bool) -> Generator[Chunk]:
    with source.opened() as fd:
        info = os.fstat(fd)
        stop = info.st_size if stop is None else min(stop, info.st_size)
        if not partial:
            stop = line_start(fd, start, stop)
        while start < stop:
            end, data = _cut(fd, start, start + size, stop)
            ending = pread(fd, min(ENDING_BYTES, end - start), max(start, end - ENDING_BYTES))
            if not ending:
                raise DamagedError(f"{SHRUNK}; bytes {start:,} to {stop:,} are lost")
            source._done = end
            yield Chunk(source.name, start, end - start, data, info.st_ino, ending)
            start = end


def _cut(fd: int, start: int, end: int, stop: int) -> tuple[int, bytes | None]:
    """Find the end of a chunk, near `end`; give the data of a chunk that is one line, too long to be read."""
    reach = min(end + LINE_LIMIT, stop)
    near = stop if end >= stop else line_end(fd, end - 1, reach)
    if near is None and reach == stop:
        near = stop
    if near is not None:
        return near, None
    if (long_line := line_start(fd, start, end)) > start:
        return long_line, None
    beginning = pread(fd, LINE_LIMIT + 1, start)
    return line_end(fd, reach, stop) or stop, beginning + b"\n" if beginning else None


def _steps_of(stream: BinaryIO) -> Iterator[bytes]:
    """Yield what comes, as it comes, and b"" when it pauses."""
    try:
        fd = stream.fileno()
    except (OSError, ValueError):  # not a file of the system: what a test or an embedding program put there
        yield from iter(lambda: stream.read(READ_STEP), b"")
        return
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while True:
        if not poll.poll(PAUSE_MS):
            yield b""
        try:
            step = os.read(fd, LINE_LIMIT)
        except OSError as error:
            raise DamagedError(f"{error.strerror}: the rest is lost") from None
        if not step:
            return
        yield step


def _stream_chunks(
    source: Source, size: int, start: int, stop: int | None, partial: bool
) -> Generator[Chunk]:
    pieces = resized(between(source.pieces(), start, stop), size)
    for lines in gather_lines(pieces, size):
        # What damage cut may look like a whole line with another number at its end.
        if lines.finished or (partial and not source.problems):
            yield Chunk(source.name, start, lines.length, lines.data)
            start += lines.length
