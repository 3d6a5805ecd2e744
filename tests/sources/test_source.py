"""Reading logs: every byte of every file or stream comes back as whole lines, with true offsets."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import re
import subprocess
import sys
import threading
import tracemalloc
import zlib
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logstatsd.errors import InputError
from logstatsd.sources import source as sources
from logstatsd.sources.compression import PIECE, READ_STEP
from logstatsd.sources.lines import LINE_LIMIT
from logstatsd.sources.source import BLOCK, Chunk, Source, bisect, chunks, find, head

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from pathlib import Path


COMPRESS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bz2": partial(bz2.compress, compresslevel=1),
    "xz": partial(lzma.compress, preset=0),
    "zstd": zstd.compress,
}
COMPRESSED = sorted(set(COMPRESS) - {"plain"})
LOG = b"".join(b"line %d of a log, with some text that differs: %x\n" % (n, n * 7919) for n in range(20_000))


def written(folder: Path, data: bytes, name: str = "access.log") -> Source:
    path = folder / name
    path.write_bytes(data)
    return find([str(path)])[0]


def shortened(line: bytes) -> bytes:
    """Shorten a line to the beginning that is kept of it."""
    text = line.removesuffix(b"\n")
    return text[: LINE_LIMIT + 1] + b"\n" if len(text) > LINE_LIMIT else line


def assert_are_lines(found: list[Chunk], log: bytes, size: int) -> None:
    """`found` stands for all of `log`, in whole lines, with true offsets, in bounded pieces."""
    offset = 0
    for chunk in found:
        data, true = chunk.read(), log[chunk.offset : chunk.offset + chunk.length]
        assert chunk.offset == offset
        assert len(data) <= size + PIECE
        assert true.endswith(b"\n") or offset + chunk.length == len(log)
        assert data == true or (data == shortened(true) and true.count(b"\n", 0, -1) == 0)
        offset += chunk.length
    assert offset == len(log)


class Drawn(bytes):
    """A log whose description fits on a screen."""

    def __new__(cls, lines: list[bytes | int], newline: bytes, ends: bool) -> Drawn:
        texts = [b"x" * line if isinstance(line, int) else line for line in lines]
        self = super().__new__(cls, newline.join(texts) + (newline if ends else b""))
        self.drawn = lines, newline, ends
        return self

    def __repr__(self) -> str:
        return f"Drawn{self.drawn}"


texts = st.one_of(st.binary(max_size=30), st.text("ab\r\0é", max_size=20).map(str.encode))
lengths = st.one_of(st.integers(LINE_LIMIT - 2, LINE_LIMIT + 2), st.integers(0, 4 * LINE_LIMIT))
logs = st.builds(
    Drawn, st.lists(texts | lengths, max_size=12), st.sampled_from([b"\n", b"\r\n"]), st.booleans()
)


@pytest.mark.parametrize("kind", COMPRESS)
@given(log=logs, size=st.one_of(st.integers(1, 300), st.integers(LINE_LIMIT // 2, 3 * LINE_LIMIT)))
@settings(max_examples=40)
def test_chunks_are_the_log(tmp_path_factory, kind, log, size):
    source = written(tmp_path_factory.mktemp("log"), COMPRESS[kind](log))
    size = max(size, len(log) // 500)
    if kind != "plain" or log.startswith((b"\x1f\x8b", b"BZh")):
        assert source.kind == kind
    assert_are_lines([*chunks(source, size=size)], log, size)
    assert source.problems == []
    assert source.done_bytes() == source.total_bytes() or not log


@given(log=logs, size=st.integers(1, 3 * LINE_LIMIT), steps=st.lists(st.integers(0, LINE_LIMIT), min_size=1))
@settings(max_examples=40)
def test_a_stream_of_any_rhythm_is_the_log(log, size, steps):
    class Rhythm(io.RawIOBase):
        """A stream without a file descriptor, whose reads return as much as they like."""

        def __init__(self):
            self.rest, self.turn = log, 0

        def read(self, _size=-1):
            self.turn += 1
            step = max(steps[self.turn % len(steps)], 1, len(log) // 500)
            taken, self.rest = self.rest[:step], self.rest[step:]
            return taken

    source, size = Source("-", None, Rhythm()), max(size, len(log) // 500)
    if source.kind == "plain":
        first = head(source, 100)
        assert log.startswith(first)
        assert_are_lines([*chunks(source, size=size)], log, size)


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_range_of_lines(tmp_path, kind):
    source = written(tmp_path, COMPRESS[kind](LOG))
    start, stop = LOG.index(b"line 700 "), LOG.index(b"line 9000 ")
    found = [*chunks(source, size=5_000, start=start, stop=stop)]
    assert b"".join(chunk.read() for chunk in found) == LOG[start:stop]
    assert (found[0].offset, found[-1].offset + found[-1].length) == (start, stop)


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("tail", [b"not yet whol", b"z" * 3 * LINE_LIMIT])
def test_an_unfinished_last_line_can_wait(tmp_path, kind, tail):
    source = written(tmp_path, COMPRESS[kind](LOG + tail))
    for size in (1_000, BLOCK):
        found = [*chunks(source, size=size, partial=False)]
        assert b"".join(chunk.read() for chunk in found) == LOG


def test_a_file_is_read_to_the_size_that_it_had(tmp_path):
    source = written(tmp_path, LOG)
    reading = chunks(source, size=1_000)
    first = next(reading)
    with (tmp_path / "access.log").open("ab") as log:
        log.write(LOG)
    assert_are_lines([first, *reading], LOG, 1_000)


def test_a_file_that_shrinks_gives_what_is_left(tmp_path):
    source = written(tmp_path, LOG)
    reading = chunks(source, size=100_000)
    first = next(reading)
    os.truncate(tmp_path / "access.log", 1_000)
    assert first.read() == LOG[:1_000]
    assert [chunk.read() for chunk in reading if chunk.read()] == []


def test_a_file_that_logrotate_renames_is_read_on(tmp_path):
    source = written(tmp_path, LOG)
    reading = chunks(source, size=100_000)
    found = [next(reading)]
    (tmp_path / "access.log").rename(tmp_path / "access.log.1")
    (tmp_path / "access.log").write_bytes(b"of another day\n" * 10_000)
    assert_are_lines([*found, *reading], LOG, 100_000)


def test_a_file_that_is_deleted_and_written_anew_is_not_taken_for_itself(tmp_path):
    source = written(tmp_path, LOG)
    chunk = next(chunks(source))
    (tmp_path / "new").write_bytes(b"of another day\n")
    (tmp_path / "new").rename(tmp_path / "access.log")
    with pytest.raises(InputError, match=r"access\.log: was replaced while it was read"):
        chunk.read()


def test_chunks_of_a_file_travel_without_its_bytes(tmp_path):
    chunk = next(chunks(written(tmp_path, LOG)))
    sent = pickle.dumps(chunk)
    assert len(sent) < 500
    assert pickle.loads(sent).read() == LOG


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_giant_line_needs_little_memory(tmp_path, kind):
    length = 200 << 20
    path = tmp_path / "access.log"
    if kind == "plain":
        with path.open("wb") as log:  # sparse
            log.write(b"short\n")
            log.truncate(6 + length)
            log.seek(0, os.SEEK_END)
            log.write(b"\nshort\n")
    else:
        giant = COMPRESS[kind](b"short\n") + 8 * COMPRESS[kind](bytes(length // 8))
        path.write_bytes(giant + COMPRESS[kind](b"\nshort\n"))
    tracemalloc.start()
    try:
        found = [*chunks(find([str(path)])[0], size=1 << 20)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [(chunk.offset, chunk.length) for chunk in found] == [(0, 6), (6, length + 1), (length + 7, 6)]
    assert [len(chunk.read()) for chunk in found] == [6, LINE_LIMIT + 2, 6]
    assert peak < 24 << 20


@pytest.mark.parametrize("kind", COMPRESS)
def test_head_is_the_first_whole_lines(tmp_path, kind):
    source = written(tmp_path, COMPRESS[kind](LOG))
    first = head(source, 10_000)
    assert LOG.startswith(first)
    assert first.endswith(b"\n")
    assert 9_900 < len(first) <= 10_000
    assert_are_lines([*chunks(source)], LOG, BLOCK)


@pytest.mark.parametrize(
    ("log", "expected"), [(b"", b""), (b"a", b"a"), (b"a\nb", b"a\n"), (b"x" * 99, b"x" * 9)]
)
def test_head_of_a_log_without_whole_lines(tmp_path, log, expected):
    assert head(written(tmp_path, log), 9) == expected


# Streams


def in_child(code: str, *, stdin: int | None = None, data: bytes | None = None) -> list[str]:
    preamble = (
        "from logstatsd.sources.source import *; from logstatsd.sources.source import find, head, chunks\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", preamble + code], stdin=stdin, input=data, capture_output=True, check=True
    )
    return done.stdout.decode().split()


@pytest.mark.parametrize("kind", COMPRESS)
def test_stdin_is_looked_at_and_then_read(kind):
    code = (
        "import zlib; [s] = find(['-']); h = head(s, 1000); d = b''.join(c.read() for c in chunks(s));"
        "print(s.kind, len(h), len(d), zlib.crc32(d), s.total_bytes())"
    )
    found_kind, head_length, length, checksum, total = in_child(code, data=COMPRESS[kind](LOG))
    assert (found_kind, int(length), int(checksum), total) == (kind, len(LOG), zlib.crc32(LOG), "None")
    assert 900 < int(head_length) <= 1000


def test_stdin_that_is_a_file_is_read_like_a_stream(tmp_path):
    (tmp_path / "access.log").write_bytes(LOG)
    with (tmp_path / "access.log").open("rb") as log:
        code = "[s] = find(['/dev/stdin']); print(sum(len(c.read()) for c in chunks(s)))"
        assert in_child(code, stdin=log.fileno()) == [str(len(LOG))]


def test_a_fifo_is_read_once_whatever_is_asked(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=[gzip.compress(LOG)])
    writer.start()
    [source] = find([str(fifo), str(fifo)])
    assert source.kind == "gzip"
    assert LOG.startswith(head(source))
    assert_are_lines([*chunks(source)], LOG, BLOCK)
    source.stream.close()
    writer.join()


def test_a_live_stream_gives_what_it_has_when_it_pauses(monkeypatch):
    monkeypatch.setattr(sources, "PAUSE_MS", 1)
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb", buffering=0) as stream, os.fdopen(write_end, "wb", buffering=0) as writer:
        source = Source("-", None, stream)
        writer.write(b"first line\nsecon")
        assert head(source) == b"first line\n"
        reading = chunks(source)
        assert next(reading).read() == b"first line\n"
        writer.write(b"d line\n")
        assert next(reading).read() == b"second line\n"
        writer.write(b"third")
        writer.close()
        assert [chunk.read() for chunk in reading] == [b"third"]


# Damage


@pytest.mark.parametrize("kind", COMPRESSED)
@pytest.mark.parametrize("part", [0.05, 0.5, 0.9, 0.999])
def test_a_cut_file_gives_what_is_left_and_says_so(tmp_path, kind, part):
    whole = COMPRESS[kind](LOG)
    source = written(tmp_path, whole[: int(len(whole) * part)])
    kept = b"".join(chunk.read() for chunk in chunks(source, size=50_000))
    assert LOG.startswith(kept)
    assert not kept or kept.endswith(b"\n")
    assert len(source.problems) == 1
    assert f"access.log: cut short: its {kind} data end in the middle" in source.problems[0]
    if kind == "gzip":
        assert len(kept) > len(LOG) * (part - 0.05)


@pytest.mark.parametrize("kind", COMPRESSED)
def test_a_corrupt_file_gives_what_is_sound_and_counts_what_is_not(tmp_path, kind):
    sound = COMPRESS[kind](LOG)
    middle = len(sound) // 2
    source = written(tmp_path, sound + sound[:middle] + bytes(200) + sound[middle + 200 :])
    kept = b"".join(chunk.read() for chunk in chunks(source))
    assert kept.startswith(LOG)
    assert len(source.problems) == 1
    assert re.search(
        r"corrupt \w+ data \(.*\): its last [\d,]+ compressed bytes are lost", source.problems[0]
    )


def test_a_wrong_checksum_costs_one_step_of_reading(tmp_path):
    data = bytearray(gzip.compress(LOG))
    data[-8] ^= 1
    source = written(tmp_path, data)
    kept = b"".join(chunk.read() for chunk in chunks(source))
    assert LOG.startswith(kept)
    [problem] = source.problems
    lost = int(re.search(r"last ([\d,]+) compressed", problem)[1].replace(",", ""))
    assert 0 < lost <= READ_STEP
    assert len(kept) / len(LOG) == pytest.approx(1 - lost / len(data), abs=0.05)


@pytest.mark.parametrize("kind", COMPRESSED)
def test_members_one_after_the_other_are_one_log(tmp_path, kind):
    members = [LOG[:1_000], b"", LOG[1_000:1_010], LOG[1_010:]]
    source = written(tmp_path, b"".join(map(COMPRESS[kind], members)))
    assert_are_lines([*chunks(source, size=1_000)], LOG, 1_000)
    assert source.problems == []


@pytest.mark.parametrize("kind", COMPRESSED)
def test_padding_is_passed_over_but_garbage_is_told(tmp_path, kind):
    padded = written(tmp_path, COMPRESS[kind](LOG) + bytes(100_000), "padded")
    assert_are_lines([*chunks(padded)], LOG, BLOCK)
    assert padded.problems == []
    trailing = written(tmp_path, COMPRESS[kind](LOG) + b"garbage" * 10_000, "trailing")
    assert_are_lines([*chunks(trailing)], LOG, BLOCK)
    assert trailing.problems == [
        f"{tmp_path}/trailing: followed by 70,000 bytes that are not {kind} data: they are lost"
    ]


def test_zstd_frames_to_be_skipped_are_skipped(tmp_path):
    skipped = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    source = written(tmp_path, skipped + zstd.compress(LOG) + skipped)
    assert_are_lines([*chunks(source)], LOG, BLOCK)
    assert source.problems == []


@pytest.mark.parametrize("kind", COMPRESSED)
def test_a_decoder_that_is_missing_is_named_with_a_way_round(tmp_path, kind, monkeypatch):
    for module in ("bz2", "lzma", "zlib", "isal.isal_zlib", "backports.zstd", "compression.zstd"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        InputError, match=rf"access\.log: {kind} cannot be decoded here; .*cat .*access\.log \|"
    ):
        written(tmp_path, COMPRESS[kind](LOG))


def test_archives_are_refused_with_the_command_that_reads_them(tmp_path):
    with pytest.raises(InputError, match=r"try: unzip -p .*/access\.log \| logstatsd \.\.\. -"):
        written(tmp_path, b"PK\x03\x04 and so on")


def test_reading_ahead_stops_when_nobody_reads_on(tmp_path):
    source = written(tmp_path, gzip.compress(LOG))
    reading = chunks(source, size=1_000)
    next(reading)
    [thread] = [thread for thread in threading.enumerate() if thread.name == "read-ahead"]
    reading.close()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert source.done_bytes() < source.total_bytes()


# Time windows

START = 1_795_000_000


def time_of(line: bytes) -> float | None:
    first = line.split(b" ", 1)[0].rstrip()
    return float(first) if first.isdigit() else None


@given(
    gaps=st.lists(st.integers(0, 400), min_size=1, max_size=40),
    jitter=st.lists(st.integers(-30, 30), min_size=1, max_size=20),
    junk=st.lists(st.sampled_from([b"", b"Traceback (most recent call last):\n", b"\n" * 20]), min_size=1),
    window=st.tuples(st.none() | st.integers(-100, 9_000), st.none() | st.integers(-100, 9_000)),
)
@settings(max_examples=30)
def test_bisection_keeps_every_line_of_the_window(tmp_path_factory, gaps, jitter, junk, window):
    lines, now = [], START
    for n in range(1_500):
        now += gaps[n % len(gaps)] if n % 50 == 0 else 0
        lines.append(junk[n % len(junk)])
        lines.append(b"%d %s\n" % (now + jitter[n % len(jitter)], b"x" * 300))
    log = b"".join(lines)
    source = written(tmp_path_factory.mktemp("log"), log)
    since, until = (None if edge is None else START + edge for edge in window)
    start, stop = bisect(source, time_of, since, until)

    def inside(part: bytes) -> list[bytes]:
        return [
            one
            for one in part.splitlines(keepends=True)
            if (time := time_of(one)) is not None and (since or 0) <= time < (until or 1e11)
        ]

    assert inside(log[start:stop]) == inside(log)
    assert log[:start][-1:] in (b"", b"\n")
    assert log[:stop][-1:] in (b"", b"\n")


def test_bisection_reads_little_and_leaves_out_most(tmp_path):
    log = b"".join(b"%d %s\n" % (START + n, b"x" * 100) for n in range(100_000))
    source = written(tmp_path, log)
    asked = []
    key = lambda line: asked.append(line) or time_of(line)  # noqa: E731
    start, stop = bisect(source, key, START + 50_000, START + 50_100)
    assert stop - start < 3 * LINE_LIMIT
    assert len(asked) < 100


@pytest.mark.parametrize("kind", COMPRESSED)
def test_a_compressed_file_is_not_bisected(tmp_path, kind):
    assert bisect(written(tmp_path, COMPRESS[kind](LOG)), time_of, START, None) == (0, None)


@pytest.mark.parametrize(
    "log",
    [
        pytest.param(b"".join(b"%d\n" % (START - n) for n in range(50_000)), id="backwards"),
        pytest.param(b"".join(b"%d\n" % (START + n % 25_000) for n in range(50_000)), id="two logs in one"),
        pytest.param(b"no time here\n" * 200_000, id="no times"),
    ],
)
def test_a_log_out_of_order_is_read_whole(tmp_path, log):
    assert bisect(written(tmp_path, log), time_of, START + 10, START + 20) == (0, len(log))


def test_an_empty_log_has_an_empty_window(tmp_path):
    assert bisect(written(tmp_path, b""), time_of, START, START + 1) == (0, 0)
