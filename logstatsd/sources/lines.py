"""Find lines in bytes: where one starts and ends in a file, and whole ones in a stream of pieces."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# A longer line is not parsed; no log format that people use comes near.
LINE_LIMIT = 65_536
# Searches for the end of a line that is longer than they first look go in steps of this size.
STRIDE = 1 << 20


def line_end(fd: int, position: int, stop: int) -> int | None:
    """Return where the line that holds `position` ends, its newline included, if that is before `stop`."""
    step = 4096
    while position < stop and (block := os.pread(fd, min(step, stop - position), position)):
        if (found := block.find(b"\n")) >= 0:
            return position + found + 1
        position += len(block)
        step = STRIDE
    return None


def line_start(fd: int, floor: int, position: int) -> int:
    """Return where the last line that starts at or before `position` does; at least `floor`."""
    step = 4096
    while position > floor:
        step = min(step, position - floor)
        if (found := pread(fd, step, position - step).rfind(b"\n")) >= 0:
            return position - step + found + 1
        position -= step
        step = STRIDE
    return floor


def pread(fd: int, length: int, offset: int) -> bytes:
    """Read all of a range, or what there is of it: one call reads at most 2 GiB, and may read less."""
    data = os.pread(fd, length, offset)
    while len(data) < length and (more := os.pread(fd, length - len(data), offset + len(data))):
        data += more
    return data


class Lines(NamedTuple):
    """Whole lines, or an unfinished one; `length` is how long they are even if `data` is less of it."""

    length: int
    data: bytes
    finished: bool = True


def between(pieces: Iterable[bytes], start: int, stop: int | None) -> Iterator[bytes]:
    """Yield what of the pieces lies from byte `start` to byte `stop` of them all."""
    position = 0
    for piece in pieces:
        first, last = start - position, len(piece) if stop is None else stop - position
        position += len(piece)
        if first < len(piece) or not piece:
            yield piece[max(first, 0) : last] if first > 0 or last < len(piece) else piece
        if stop is not None and position >= stop:
            return


def resized(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield the same bytes in pieces of at most `size`."""
    for piece in pieces:
        if len(piece) <= size:
            yield piece
        else:
            yield from (piece[at : at + size] for at in range(0, len(piece), size))


def gather_lines(pieces: Iterable[bytes], size: int) -> Iterator[Lines]:
    """Gather pieces into whole lines of about `size` bytes, or less at an empty piece, which is a pause.

    Of a line longer than LINE_LIMIT that does not fit into `size`, only LINE_LIMIT + 1 bytes and a newline
    are kept. An unfinished last line comes by itself.
    """
    held: list[bytes] = []
    held_length = 0
    too_long = 0  # how much of an over-long line has been read; `held` is its beginning
    for piece in pieces:
        if too_long:
            end = piece.find(b"\n") + 1
            too_long += end or len(piece)
            if not end:
                continue
            yield Lines(too_long, held[0] + b"\n")
            held, held_length, too_long = [piece[end:]], len(piece) - end, 0
        else:
            held.append(piece)
            held_length += len(piece)
        if piece and (held_length < size or (held_length <= LINE_LIMIT and b"\n" not in piece)):
            continue
        if b"\n" not in held[-1]:
            held = [b"".join(held)]
        end = held[-1].rfind(b"\n") + 1
        rest = held[-1][end:]
        if end:
            held[-1] = held[-1][:end]
            whole = b"".join(held)
            yield Lines(len(whole), whole)
        if len(rest) > LINE_LIMIT:
            too_long, rest = len(rest), rest[: LINE_LIMIT + 1]
        held, held_length = [rest], len(rest)
    yield from _last_lines(b"".join(held), too_long)


def _last_lines(block: bytes, too_long: int) -> Iterator[Lines]:
    if too_long:
        yield Lines(too_long, block + b"\n", finished=False)
        return
    end = block.rfind(b"\n") + 1
    if end:
        yield Lines(end, block[:end])
    if block[end:]:
        yield Lines(len(block) - end, block[end:], finished=False)
