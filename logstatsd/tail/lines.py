"""Know lines again after their addresses were made anonymous."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from logstatsd.tail.checkpoint import PassedLines

if TYPE_CHECKING:
    from logstatsd.tail.rotated import Fingerprint, LogFile

_BETWEEN_WORDS = re.compile(rb"[\s,\"]")
_ADDRESS = re.compile(
    rb"\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?"
    rb"|\[?(?:[0-9a-fA-F:.]*::[0-9a-fA-F:.]*|(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4})\]?(?::\d+)?"
)
_MAX_LINE = 1 << 16


def sketch(line: bytes) -> str:
    """Describe a line by the hash of its words without the addresses, and by the places of those.

    >>> sketch(b"192.0.2.7 GET /") == sketch(b"203.0.113.9 GET /")
    True
    """
    words = _BETWEEN_WORDS.split(line[:_MAX_LINE])
    return _described(words, [at for at, word in enumerate(words) if _ADDRESS.fullmatch(word)])


def _described(words: list[bytes], left_out: list[int]) -> str:
    kept = [b"" if at in left_out else word for at, word in enumerate(words)]
    digest = hashlib.blake2b(b"\n".join(kept), digest_size=16).hexdigest()
    return f"{','.join(map(str, left_out))}:{digest}"


def is_sketched(line: bytes, drawn: str) -> bool:
    """Whether a line is as the sketch says, whatever stands where that had addresses."""
    try:
        left_out = [int(at) for at in drawn.rpartition(":")[0].split(",") if at]
    except ValueError:
        return False
    return _described(_BETWEEN_WORDS.split(line[:_MAX_LINE]), left_out) == drawn


def count_on(lines: PassedLines | None, data: bytes) -> PassedLines | None:
    """Count the lines of `data`, which follows those; None where they cannot be told any more."""
    if lines is None or not data.endswith(b"\n"):
        return None
    first = lines.first or sketch(data[: data.index(b"\n")])
    return PassedLines(
        lines.total + data.count(b"\n"), first, sketch(data[data.rfind(b"\n", 0, -1) + 1 : -1])
    )


def find_edited(file: LogFile, lines: PassedLines | None, beginning: Fingerprint) -> int | None:
    """Find the end of these lines in a file in which their addresses were changed, in uncompressed bytes.

    None where the first or the last of them is another line.
    """
    if lines is None or not lines.total:
        return None
    if not is_sketched(file.first_line(beginning, _MAX_LINE), lines.first):
        return None
    left, offset, rest = lines.total, beginning.offset, b""
    for block in file.blocks(beginning):
        data = rest + block
        whole = data.rfind(b"\n") + 1
        if (found := data.count(b"\n")) >= left:
            upto = _end_of_line(data, left)
            last = data[data.rfind(b"\n", 0, upto - 1) + 1 : upto - 1]
            return offset + upto if is_sketched(last, lines.last) else None
        left -= found
        offset, rest = offset + whole, data[whole:]
    return None


def _end_of_line(data: bytes, number: int) -> int:
    return len(data) - len(data.split(b"\n", number)[-1])
