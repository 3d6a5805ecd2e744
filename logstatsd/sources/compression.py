"""Decode compressed logs: told by their first bytes, in small pieces, read ahead in a thread."""

from __future__ import annotations

import importlib
import queue
import shlex
import threading
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from logstatsd.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from types import ModuleType

T = TypeVar("T")

PLAIN = "plain"
"""The kind of a file that is not compressed."""

MAGIC_LENGTH = 6
# What a corrupt byte can spoil before it is at most one step of compressed bytes.
READ_STEP = 16 << 10
# A hostile file can decode to a thousand times its size; a piece is never longer than this.
PIECE = 1 << 20
# `zstd --long=29` looks back so far: 512 MiB of memory, as much of it as there is of the log.
WINDOW_LOG = 29
# A file shorter than a magic number that begins with so much of one was cut.
TELLING = 2


class DamagedError(Exception):
    """The rest of a compressed stream cannot be decoded; the message says what is lost."""


class Decompressor(Protocol):
    """The interface that the decompressors of `bz2`, `lzma` and `compression.zstd` share."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Inflate:
    """zlib's decompressor with the interface of the others."""

    def __init__(self, zlib: ModuleType) -> None:
        self._zlib = zlib.decompressobj(wbits=31)  # 31: a gzip member, its checksum verified

    @property
    def eof(self) -> bool:
        return bool(self._zlib.eof)

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return bytes(self._zlib.unused_data)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return bytes(self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length))


class Decoder(NamedTuple):
    """The maker of a decompressor for one stream, and the error that it raises on corrupt data."""

    new: Callable[[], Decompressor]
    errors: type[Exception]


class Codec(NamedTuple):
    """A kind of compression: how a stream of it begins, what decodes it, and the command that does too."""

    magics: tuple[bytes, ...]
    load: Callable[[], Decoder]
    command: str
    remedy: str = "use a Python that was built with it"


def _first_of(*modules: str) -> ModuleType:
    for module in modules[:-1]:
        try:
            return importlib.import_module(module)
        except ImportError:
            pass
    return importlib.import_module(modules[-1])


def _gzip() -> Decoder:
    zlib = _first_of("isal.isal_zlib", "zlib")
    return Decoder(partial(_Inflate, zlib), zlib.error)


def _bz2() -> Decoder:
    return Decoder(_first_of("bz2").BZ2Decompressor, OSError)


def _xz() -> Decoder:
    lzma = _first_of("lzma")
    return Decoder(partial(lzma.LZMADecompressor, lzma.FORMAT_XZ), lzma.LZMAError)


def _zstd() -> Decoder:
    zstd = _first_of("compression.zstd", "backports.zstd")
    options = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
    return Decoder(partial(zstd.ZstdDecompressor, options=options), zstd.ZstdError)


# A block size of 1 to 9, then the start of a first block or, in an empty stream, of the end.
_BZIP2_STARTS = tuple(b"BZh%d" % size + then for size in range(1, 10) for then in (b"1A", b"\x17r"))
# RFC 8878, 3.1.2: a stream may begin with frames to be skipped (pzstd writes them), of 16 magic numbers.
_ZSTD_SKIPPABLE = tuple(bytes([low]) + b"\x2a\x4d\x18" for low in range(0x50, 0x60))

CODECS = {
    "gzip": Codec((b"\x1f\x8b\x08",), _gzip, "zcat"),
    "bz2": Codec(_BZIP2_STARTS, _bz2, "bzcat"),
    "xz": Codec((b"\xfd7zXZ\x00",), _xz, "xzcat"),
    "zstd": Codec((b"\x28\xb5\x2f\xfd", *_ZSTD_SKIPPABLE), _zstd, "zstdcat", "pip install 'logstatsd[zstd]'"),
}
# What we do not decode, with the command that does.
FOREIGN = {
    b"\x1f\x9d": "zcat",
    b"PK\x03\x04": "unzip -p",
    b"\x04\x22\x4d\x18": "lz4cat",
    b"7z\xbc\xaf": "7z e -so",
}


def kind_of(name: str, first: bytes) -> str:
    """Name the kind of a file by its first MAGIC_LENGTH bytes: PLAIN or a key of CODECS.

    A file that ends within its magic number is of that kind. Raises InputError for archives and compressions
    that are not read.
    """
    for magic, command in FOREIGN.items():
        if first.startswith(magic):
            by_hand = f"{command} {shlex.quote(name)} | logstatsd ... -"
            raise InputError(f"{name}: its compression is not read here; try: {by_hand}")
    return next((kind for kind, codec in CODECS.items() if _begins(first, codec.magics)), PLAIN)


def _begins(first: bytes, magics: tuple[bytes, ...]) -> bool:
    """Whether a file begins with one of some magic numbers, or is all of it a beginning of one."""
    if first.startswith(magics):
        return True
    return len(first) >= TELLING and any(magic.startswith(first) for magic in magics)


def decoder(name: str, kind: str) -> Decoder:
    """Load what decodes `kind`. Raises InputError, with the remedy, where it is not installed."""
    codec = CODECS[kind]
    try:
        return codec.load()
    except ImportError:
        by_hand = f"{codec.command} {shlex.quote(name)} | logstatsd ... -"
        msg = f"{name}: {kind} cannot be decoded here; {codec.remedy}, or: {by_hand}"
        raise InputError(msg) from None


def decoded(name: str, kind: str, raw: Iterator[bytes]) -> Generator[bytes]:
    """Decode a whole stream, of any number of members one after the other, in pieces of at most PIECE bytes.

    Raises DamagedError after the last sound piece if the stream is cut or corrupt, InputError where
    nothing decodes that kind.
    """
    new, errors = decoder(name, kind)
    data = b""
    while data := _next_member(kind, data, raw):
        member = new()
        while not member.eof:
            try:
                piece = member.decompress(data, PIECE)
            except (errors, MemoryError) as error:
                lost = len(data) + sum(map(len, raw))
                raise DamagedError(_undecodable(name, kind, error, lost)) from None
            if piece:
                yield piece
            data = b""
            if member.needs_input and not member.eof:
                more = next(raw, None)
                if more is None and not piece:
                    raise DamagedError(_cut_short(kind))
                data = more or b""
        data = member.unused_data


def _cut_short(kind: str) -> str:
    return f"cut short: its {kind} data end in the middle, the rest is lost"


def _undecodable(name: str, kind: str, error: BaseException, lost: int) -> str:
    """Tell corrupt data from such as need more memory than is spent on them."""
    if kind == "zstd" and ("too much memory" in str(error) or isinstance(error, MemoryError)):
        by_hand = f"zstdcat --long=31 {shlex.quote(name)} | logstatsd ... -"
        window = f"window of more than {1 << WINDOW_LOG - 20} MiB"
        return f"zstd data with a {window}: its last {lost:,} compressed bytes are lost; try: {by_hand}"
    return f"corrupt {kind} data ({error}): its last {lost:,} compressed bytes are lost"


def _next_member(kind: str, data: bytes, raw: Iterator[bytes]) -> bytes:
    """Read on to the start of the next member, past zero padding; empty at the end of the stream."""
    data = data.lstrip(b"\0")
    while len(data) < MAGIC_LENGTH and (more := next(raw, None)) is not None:
        data = (data + more).lstrip(b"\0")
    magics = CODECS[kind].magics
    if data and not data.startswith(magics):
        if _begins(data, magics):
            raise DamagedError(_cut_short(kind))
        lost = len(data) + sum(map(len, raw))
        raise DamagedError(f"followed by {lost:,} bytes that are not {kind} data: they are lost")
    return data


def read_ahead(items: Generator[T], ahead: int) -> Generator[T]:
    """Yield `items`, made in a thread that stays at most `ahead` of them ahead; errors are raised here."""
    ready: queue.SimpleQueue[tuple[T] | BaseException | None] = queue.SimpleQueue()
    slots = threading.Semaphore(ahead)
    closed = threading.Event()

    def produce() -> None:
        try:
            for item in items:
                slots.acquire()
                if closed.is_set():
                    break
                ready.put((item,))
            ready.put(None)
        except BaseException as error:
            ready.put(error)
        finally:
            items.close()

    threading.Thread(target=produce, name="read-ahead", daemon=True).start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            slots.release()
            yield item[0]
    finally:
        closed.set()
        slots.release()
