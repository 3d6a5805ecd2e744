"""Both scanners on the same bytes: equal Batches, samples included, or the first line on which they differ.

    python tests/support/twins.py [--minutes 10] [--seed N]

Logs are mutated lines of every format, carried and bare, with windows and buckets of time, and requests of
random maps. `tests/scan/test_native.py` runs a seeded share. Ends with 1 and the line at a difference.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from typing import TYPE_CHECKING, Any

import sample
from fuzz_formats import LAYOUTS, PIECES, mutated
from random_maps import RandomApp

from logstatsd.formats.envelopes import ENVELOPES
from logstatsd.formats.logformat import LogFormat, Token
from logstatsd.formats.presets import FORMATS
from logstatsd.model.batch import Batch, Window
from logstatsd.routing import app as apps
from logstatsd.routing.router import Router
from logstatsd.scan.native import NativeScanner
from logstatsd.scan.scanner import Misfit, Scanner

if TYPE_CHECKING:
    from collections.abc import Iterator

START_S = 1_795_353_915
VALUES = {
    "request": ("GET /health HTTP/1.1", "POST /api/orders/ HTTP/1.1", "GET /api/products/7?x=1#y HTTP/2.0",
                "-", "", "get / HTTP/1.1", "PROPFIND /a HTTP/1.1", "GET http://shop/health HTTP/1.1",
                "GET / HTTP/x",
                "OPTIONS * HTTP/1.1", "GET //health", "GET /caf\\xC3\\xA9", "GET /a%2Fb%C3%A9%zz",
                "GET /a b"),
    "status": ("200", "404", "500", "101", "499", "000"),
    "word": ("192.0.2.7", "-", "::1", "shop.example:8000"),
    "text": ("-", "curl/8.5", "Mozilla/5.0 (X11; Linux)", "/orders/7?page=2", "shop.example", "", "a b"),
    "number": ("512", "0", "-", "1795353915.123", "1795353915"),
    "decimal": ("0.000", "0.042", "12.345", "0.042137", "-", "1.2", "x", "-0.100", "999999999.999"),
    "integer": ("0", "42", "42137", "-", "9" * 15, "9" * 16, "nan"),
    "list": ("0.010", "0.010, 0.020 : 0.003", "-", "-, -", "127.0.0.1:8000", "0.1",
             "unix:/run/a.sock, [::1]:80"),
    "took": ("42 msecs", "7 micros", "3 secs"),
    "clf": ("22/Nov/2026:13:25:15 +0000", "22/Nov/2026:14:25:17 +0100", "31/Feb/2026:13:25:15 +0000",
            "22/Nov/2026:13:99:15 +0000", "22/nov/2026:13:25:15 +0000"),
    "iso": ("2026-11-22T13:25:15+00:00", "2026-11-22T08:25:16-05:00", "2026-11-22T13:25:61Z"),
    "ctime": ("Sun Nov 22 13:25:15 2026", "Mon Nov  2 13:25:15 2026", "Sun Nov 31 13:25:15 2026"),
    "http_server": ("22/Nov/2026 13:25:15", "22/Nov/2026 24:25:15"),
}  # fmt: skip
"""Values of each kind, plain ones and odd ones."""
VALUES["clf_bracketed"] = tuple(f"[{value}]" for value in VALUES["clf"])
JSON_VALUES = (
    '"GET /health HTTP/1.1"', '"/api/orders/7?a=1"', '"GET"', "200", '"404"', "null", "true", "0.042",
    "4.2e-05",
    "17", '"-"', '""', '"2026-11-22T13:25:15.042+00:00"', "1795353915.123", "[1]", '{"a": 1}', '"caf\\u00e9"',
    '"caf\xe9"', '"a\\"b"', "NaN", "01", '"\\ud800"', "1e400",
)  # fmt: skip


def lines_of(log_format: LogFormat, chance: random.Random, count: int) -> Iterator[bytes]:
    """Lines of a format, most of them plain."""
    for _ in range(count):
        text = _json(log_format, chance) if log_format.is_json else _text(log_format, chance)
        line = text.encode("utf-8" if chance.random() < 0.9 else "latin-1")
        for name in reversed(log_format.envelopes):
            if chance.random() < 0.95:
                line = _carried(name, line)
        if chance.random() < 0.15:
            line = _damaged(line, chance)
        yield line.replace(b"\n", b"")


def _text(log_format: LogFormat, chance: random.Random) -> str:
    odd = chance.random() < 0.5
    parts = []
    for token in log_format.tokens:
        if isinstance(token, Token):
            values = VALUES.get(token.field.kind, ("-",))
            parts.append(chance.choice(values if odd else values[:2]))
        else:
            parts.append(token)
    return "".join(parts)


def _json(log_format: LogFormat, chance: random.Random) -> str:
    items = []
    for key, token in log_format.keys:
        plain = {
            "status": "200",
            "request": '"GET /health HTTP/1.1"',
            "method": '"GET"',
            "target": '"/health"',
        }
        value = plain.get(token.field.role, '"x"')
        if token.field.role in ("duration", "cpu", "time", "") or chance.random() < 0.1:
            value = chance.choice(JSON_VALUES)
        items.append(f'"{key}":{" " * chance.randrange(2)}{value}')
    if chance.random() < 0.05:
        items.append(chance.choice(items))
    return "{" + ",".join(items) + "}" + chance.choice(("", "", "", " ", "\r", "x"))


def _carried(name: str, line: bytes) -> bytes:
    if "json" in name or name == "docker":
        line = line.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return ENVELOPES[name].sample.encode().replace(b"LINE", line)


def _damaged(line: bytes, chance: random.Random) -> bytes:
    a, b = sorted(chance.randrange(len(line) + 1) for _ in range(2))
    piece = chance.choice(PIECES)
    return chance.choice(
        (line[:a], line[:a] + piece + line[a:], line[:a] + line[b:], line[:a] + piece + line[b:])
    )


def log_of(log_format: LogFormat, chance: random.Random, count: int = 60) -> bytes:
    """A log of a format, with lines of other formats in it; its last line may lack a newline."""
    lines = list(lines_of(log_format, chance, count))
    lines += [mutated(chance) for _ in range(count // 4)]
    chance.shuffle(lines)
    return b"\n".join(lines) + b"\n" * chance.randrange(2)


HOSTED = LogFormat("hosted", '"$request" $status $request_time "$http_host" [$time_local]', "nginx")


def requests_of(source: RandomApp, chance: random.Random, count: int) -> bytes:
    """A log of requests to a random app."""
    lines = []
    for _ in range(count):
        method, target, host, websocket = source.request()
        shown, status = _escaped(target), 101 if websocket else chance.choice((200, 404))
        took, second = chance.randrange(9_000), chance.randrange(10, 60)
        lines.append(
            b'"%s %s HTTP/1.1" %d %d.%03d "%s" [22/Nov/2026:13:25:%d +0000]\n'
            % (method.encode(), shown, status, took // 1_000, took % 1_000, _escaped(host.encode()), second)
        )
    return b"".join(lines)


def _escaped(value: bytes) -> bytes:
    """A value as nginx logs it."""
    return b"".join(
        bytes([byte]) if 32 <= byte < 127 and byte not in b'"\\' else b"\\x%02X" % byte for byte in value
    )


def options_of(log_format: LogFormat, chance: random.Random) -> dict[str, Any]:
    """A window or buckets of time, now and then."""
    options: dict[str, Any] = {}
    if "time" in log_format.chosen:
        if chance.random() < 0.3:
            options["window"] = Window(START_S, START_S + chance.choice((1, 2)))
        if chance.random() < 0.3:
            options["bucket_s"] = chance.choice((1, 10, 60))
    return options


def compare(log_format: LogFormat, router: Router, data: bytes, **options: Any) -> Batch:
    """Scan the same bytes with both; gives the Batch. Raises AssertionError with the line that differs."""
    python = Scanner(log_format, router, **options)
    native = NativeScanner(log_format, router, **options)
    expected = python.scan(data)
    if native.scan(data) == expected:
        mine: list[Misfit] = []
        theirs: list[Misfit] = []
        assert native.scan(data, mine) == python.scan(data, theirs), "where misfits are wanted"
        assert [each._replace(line=each.line[:1_000]) for each in mine] == [
            each._replace(line=each.line[:1_000]) for each in theirs
        ]
    else:
        for line in data.split(b"\n"):
            one, other = native.scan(line + b"\n"), python.scan(line + b"\n")
            assert one == other, (
                f"{log_format}\n{options}\n{line[:2_000]!r}\ncompiled: {one}\nPython: {other}"
            )
        raise AssertionError(f"{log_format}: {options}: differ over a whole log only")
    return expected


def try_format(chance: random.Random) -> None:
    """One format, whatever it is."""
    log_format = chance.choice(LAYOUTS)
    compare(log_format, sample.router(), log_of(log_format, chance), **options_of(log_format, chance))


def try_map(seed: int, count: int = 60) -> None:
    """One random map."""
    chance = random.Random(seed)
    source = RandomApp(seed)
    snapshot = apps.from_object(source.app).snapshot()
    prefix = chance.choice(("", "", "", "/app", "/app/"))
    router = Router(snapshot, strip_prefix=prefix)
    compare(HOSTED, router, requests_of(source, chance, count), **options_of(HOSTED, chance))


def run(seconds: float, seed: int) -> int:
    """Try for so long; returns how many rounds there were."""
    chance, end, rounds = random.Random(seed), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for _ in range(10):
            try_format(chance)
        try_map(seed + rounds)
        rounds += 1
    return rounds


NAMED = [preset.log_format for preset in FORMATS.values()]

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    given = parser.parse_args()
    print(f"seed {given.seed}", file=sys.stderr)
    done = run(given.minutes * 60, given.seed)
    print(f"{done:,} rounds, {done * 750:,} lines and {done * 60:,} requests of random maps: no difference")
