"""A fuzz of the line parsers: no exception, one entry a line, and time in proportion to the line's length.

    python tests/support/fuzz_formats.py [--minutes 10] [--seed N]

Lines are random bytes, and mutated samples of every known format, of formats with bare values, and of what
carries lines. `tests/formats/test_fuzz.py` runs it for a second. Ends with 1 and the line at the first fault.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import time

from reading import entries

from logstatsd.errors import FormatError
from logstatsd.formats.detect import detect
from logstatsd.formats.diagnose import first_mismatch
from logstatsd.formats.envelopes import ENVELOPES
from logstatsd.formats.logformat import LogFormat, parse_layout
from logstatsd.formats.presets import FORMATS
from logstatsd.formats.text_reader import parse_line
from logstatsd.formats.times import moment_s, zone_of

PIECES = (
    *(
        b'"',
        b"\\",
        b'\\"',
        b" ",
        b"-",
        b", ",
        b" : ",
        b"[",
        b"]",
        b"{",
        b"}",
        b":",
        b"\t",
        b"\r",
        b"\x00",
        b"\xff",
    ),
    *(
        b"\\x22",
        b"\\u0000",
        b"\\ud800",
        b"GET / HTTP/1.1",
        b" [22/Nov/2026:13:25:15 +0000] ",
        b'" 200 5 "',
        b"0.042",
    ),
    *(
        b'{"log":"',
        b'\\n","stream":"stdout"}',
        b"],[",
        b"\x1b[31m",
        b"2026-11-22T13:25:15Z stdout F ",
        b"9" * 20,
    ),
)
BARE = (
    "$remote_addr:$remote_port $http_a $request $status [$upstream_addr] $upstream_response_time $http_b",
    "$http_a,$status,$request_method,$request_uri,$request_time",
    "%(r)s %(s)s %({x}i)s %(a)s %(D)s",
    "%h %{X}i %r %>s %D",
)
LAYOUTS = [
    *(preset.log_format for preset in FORMATS.values()),
    *map(parse_layout, BARE),
    LogFormat("none", '$http_a "$request" $status "$http_b" $request_time', "nginx", escape="none"),
    LogFormat("escaped", '"$http_a" "$request" $status "$http_b" $request_time', "nginx", escape="json"),
    LogFormat("json", '{"m":"$request_method","u":"$request_uri","s":$status,"t":$request_time}', "nginx"),
    parse_layout('{"r": "%(r)s", "s": "%(s)s", "us": %(D)s, "a": "%(a)s"}'),
    *(LogFormat(name, FORMATS["nginx"].log_format.layout, "nginx", envelopes=(name,)) for name in ENVELOPES),
]
SEEDS = [preset.sample.encode() for preset in FORMATS.values()]
SEEDS += [envelope.sample.encode().replace(b"LINE", SEEDS[0]) for envelope in ENVELOPES.values()]
SEEDS += [
    b'{"m":"GET","u":"/","s":200,"t":0.042}',
    b'{"r": "GET / HTTP/1.1", "s": "200", "us": 42, "a": "x"}',
]

SLOW_S = 0.25
"""A line of 64 KiB that takes longer is measured again, against a quarter of it."""


def mutated(chance: random.Random) -> bytes:
    """Some line."""
    line = chance.choice(SEEDS) if chance.random() < 0.9 else chance.randbytes(chance.randrange(80))
    for _ in range(chance.randrange(1, 6)):
        a, b = sorted(chance.randrange(len(line) + 1) for _ in range(2))
        piece = chance.choice(PIECES) * chance.choice((1, 1, 2, 7))
        line = chance.choice(
            (
                line[:a] + line[b:],
                line[:a] + piece + line[a:],
                line[:b] + line[a:],
                line[:a] + piece + line[b:],
            )
        )
    return line.replace(b"\n", b"")[:2_000]


def stretched(chance: random.Random) -> tuple[bytes, bytes]:
    """A line of about 16 KiB and the same one of about 64 KiB: some part of it repeated."""
    line = mutated(chance)
    a, b = sorted(chance.randrange(len(line) + 1) for _ in range(2))
    part = (line[a:b] or chance.choice(PIECES))[:200]
    return tuple(line[:a] + part * (size // len(part)) + line[b:] for size in (16_000, 60_000))  # type: ignore[return-value]


def took_s(log_format: LogFormat, line: bytes) -> float:
    start = time.process_time()
    entries(log_format, line + b"\n")
    return time.process_time() - start


def try_lines(chance: random.Random) -> None:
    """Read a few lines in a format, and whatever else looks at lines."""
    log_format = chance.choice(LAYOUTS)
    lines = [mutated(chance) for _ in range(8)]
    found = entries(log_format, b"".join(line + b"\n" for line in lines))
    assert [entry.line for entry in found] == lines, (log_format, lines)
    line = lines[0]
    if not log_format.is_json:
        first_mismatch(log_format, line)
        parse_line(log_format, line)
    moment_s(line[:40])
    zone_of(line[:40])
    if chance.random() < 0.02:
        with contextlib.suppress(FormatError):
            detect(b"".join(line + b"\n" for line in lines), "fuzz.log")


def try_time(chance: random.Random) -> None:
    """Read a long line, and compare with a quarter of it if that takes long."""
    log_format = chance.choice(LAYOUTS)
    short, long = stretched(chance)
    if took_s(log_format, long) > SLOW_S:
        ratio = min(took_s(log_format, long) for _ in range(3)) / min(
            took_s(log_format, short) for _ in range(3)
        )
        assert ratio < 9, (ratio, log_format, long[:300])


def fuzz(seconds: float, seed: int) -> int:
    """Try for so long; returns how many rounds there were."""
    chance, end, rounds = random.Random(seed), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for _ in range(20):
            try_lines(chance)
        try_time(chance)
        rounds += 1
    return rounds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    given = parser.parse_args()
    print(f"seed {given.seed}", file=sys.stderr)
    done = fuzz(given.minutes * 60, given.seed)
    print(f"{done:,} rounds, {done * 160:,} lines and {done:,} long ones: no fault")
