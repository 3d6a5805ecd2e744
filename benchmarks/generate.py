"""Write a seeded access log of any length, and beside it the truth that a report of it must tell."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from array import array
from collections import Counter, defaultdict
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from traffic import FIRST_ID, LAST_ID, Request, traffic, wrong_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JUNK_SHARE = 0.002
LINES_A_SECOND = 400  # by the log's own clock
START = 1_795_000_000
DRAWS = 1 << 16  # what two random bytes choose from
AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/131.0.0.0 Safari/537.36",
    "python-requests/2.32.3",
    "okhttp/4.12.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "ShopApp/7.3.1 (Android 15; Pixel 9)",
    "-",
)
REFERERS = (
    "-", "-", "-", "https://shop.example.com/", "https://shop.example.com/account/",
    "https://www.google.com/", "https://shop.example.com/search?q=hat", "https://news.example.org/a/1",
)  # fmt: skip
JUNK = (
    "",
    "Traceback (most recent call last):",
    '203.0.113.9 - - [22/Nov/2026:10:00:00 +0000] "GET /api/v1/us',
    "\x1b[31mworker\x1b[0m exiting (pid: 31)\t",
    '{"remote_addr":"203.0.113.9","request_method":"GET","request_uri":"/api',
    "2026/11/22 10:00:00 [error] 31#31: *7 upstream timed out (110: Connection timed out)",
)


class Layout(NamedTuple):
    """How a line is put together: client, time, request, referer and agent, duration."""

    client: str
    clock: str
    request: Callable[[Request], tuple[str, str | None]]
    agent: str
    last: str
    tick_us: int


def classic(request: Request) -> tuple[str, str | None]:
    """Write `GET /x HTTP/1.1" 200 512`, split where a fresh id goes."""
    end = f' HTTP/1.1" {request.status} {size(request)} '
    head = f"{request.method} {request.head}"
    return (head + end, None) if request.tail is None else (head, request.tail + end)


def as_json(request: Request) -> tuple[str, str | None]:
    """Write the same as members of an object."""
    end = f'","status":{request.status},"body_bytes_sent":{size(request)},'
    head = f'{request.method}","request_uri":"{request.head}'
    return (head + end, None) if request.tail is None else (head, request.tail + end)


def size(request: Request) -> int:
    """Invent the size of an answer."""
    return 0 if request.method == "HEAD" or request.status == 304 else 90 + len(request.head) ** 2 * 7


FORMATS: dict[str, Layout] = {
    "nginx": Layout("{} - - [", '%d/%b/%Y:%H:%M:%S +0000] "', classic, '"{}" "{}" ', "\n", 1000),
    "gunicorn": Layout("{} - - [", '%d/%b/%Y:%H:%M:%S +0000] "', classic, '"{}" "{}" ', "\n", 1),
    "json": Layout(
        '{{"remote_addr":"{}","time_iso8601":"',
        '%Y-%m-%dT%H:%M:%S+00:00","request_method":"',
        as_json,
        '"http_referer":"{}","http_user_agent":"{}","request_time":',
        "}\n",
        1000,
    ),
}


class Pieces(NamedTuple):
    """All that a line is drawn from, prebuilt; two random bytes, or some of their bits, choose from each."""

    requests: list[tuple[str, str | None, int, Callable[[int], None]]]  # head, tail, typical ticks, tally
    clients: list[str]
    agents: list[str]
    durations: list[int]  # factors, in 1/65536
    spelled: Callable[[int], str]
    tallies: dict[tuple[str, str, int], array[int]]


def forget(_ticks: int) -> None:
    """Tally nothing."""


def prepare(layout: Layout, kind: str, rng: random.Random, truth: bool) -> Pieces:
    """Draw the tables once, so that a line is a few look-ups."""
    tallies: dict[tuple[str, str, int], array[int]] = defaultdict(lambda: array("I"))
    typical = {}
    pool = traffic(rng, kind)
    entries = []
    for request in pool:
        us = typical.setdefault(
            (request.rule, request.method), rng.choice((900, 4_000, 15_000, 45_000, 180_000))
        )
        tally = tallies[request.rule, request.method, request.status].append if truth else forget
        entries.append((*layout.request(request), us // layout.tick_us or 1, tally))
    milliseconds = [f"{ms // 1000}.{ms % 1000:03d}{layout.last}" for ms in range(60_000)]
    return Pieces(
        requests=rng.choices(entries, [request.weight for request in pool], k=DRAWS),
        clients=[
            layout.client.format(
                f"{rng.randint(2, 220)}.{rng.randrange(256)}.{rng.randrange(256)}.{last % 256}"
            )
            for last in range(4096)
        ],
        agents=[layout.agent.format(referer, agent) for referer in REFERERS for agent in AGENTS],
        durations=[min(int(65536 * rng.lognormvariate(0, 0.9)), 65536 * 300) for _ in range(DRAWS)],
        spelled=milliseconds.__getitem__ if layout.tick_us == 1000 else (lambda us: f"{us}{layout.last}"),
        tallies=tallies,
    )


def seconds(
    pieces: Pieces, layout: Layout, lines: int, rng: random.Random
) -> Iterator[tuple[list[str], int]]:
    """Give the lines of each second of the log, and how many of them are junk."""
    requests, clients, agents, durations, spelled, _ = pieces
    jitter = 0 if layout.tick_us == 1000 else 1023
    number, now = FIRST_ID, START
    while lines:
        count = min(rng.randint(LINES_A_SECOND // 2, LINES_A_SECOND * 3 // 2), lines)
        lines -= count
        now += 1
        clock = time.strftime(layout.clock, time.gmtime(now))
        junk = sum(rng.random() < JUNK_SHARE for _ in repeat(None, count))
        block = []
        draws = memoryview(rng.randbytes(8 * (count - junk))).cast("H")
        for which, client, factor, rest in zip(*[iter(draws)] * 4, strict=True):
            head, tail, typical, tally = requests[which]
            ticks = (typical * durations[factor] >> 16) + (rest & jitter)
            tally(ticks)
            if tail is None:
                block.append(f"{clients[client & 4095]}{clock}{head}{agents[rest >> 10]}{spelled(ticks)}")
            else:
                block.append(
                    f"{clients[client & 4095]}{clock}{head}{number}{tail}{agents[rest >> 10]}{spelled(ticks)}"
                )
                number += 1
        for _ in range(junk):
            block.insert(rng.randint(0, len(block)), rng.choice(JUNK) + "\n")
        yield block, junk


def truth_row(rule: str, method: str, by_status: dict[int, array[int]], tick_us: int) -> dict[str, Any]:
    """Tell what is true of one rule and method; percentiles are nearest-rank on all durations."""
    values = sorted(ticks * tick_us for tally in by_status.values() for ticks in tally)
    row: dict[str, Any] = {"rule": rule, "method": method, "count": len(values)}
    for name, hundred in (("errors_4xx", 4), ("errors_5xx", 5)):
        row[name] = sum(len(tally) for status, tally in by_status.items() if status // 100 == hundred)
    for percent in (50, 95, 99):
        row[f"p{percent}_us"] = values[-(-percent * len(values) // 100) - 1]
    return row | {
        "total_us": sum(values),
        "min_us": values[0],
        "max_us": values[-1],
        "distinct": len(set(values)),
    }


def truth_of(pieces: Pieces, layout: Layout, lines: int, junk: int) -> dict[str, Any]:
    """Tell what is true of the whole log."""
    series: dict[tuple[str, str], dict[int, array[int]]] = defaultdict(dict)
    for (rule, method, status), tally in pieces.tallies.items():
        if tally:
            series[rule, method][status] = tally
    rows = [truth_row(*key, by_status, layout.tick_us) for key, by_status in sorted(series.items())]
    outcomes: Counter[str] = Counter()
    for row in rows:
        outcomes[row["rule"] if row["rule"].startswith("(") else "matched"] += row["count"]
    return {"lines": lines, "junk": junk, "outcomes": dict(outcomes), "rows": rows}


def generate(
    path: Path, lines: int, layout: Layout, kind: str = "usual", seed: int = 1, truth: bool = True
) -> None:
    """Write the log, and LOG.truth.json unless it is not wanted."""
    rng = random.Random(seed)
    pieces = prepare(layout, kind, rng, truth)
    junk = 0
    with path.open("wb", buffering=1 << 20) as out:
        for block, bad in seconds(pieces, layout, lines, rng):
            out.write("".join(block).encode("latin-1"))
            junk += bad
    if truth:
        told = truth_of(pieces, layout, lines, junk)
        path.with_name(path.name + ".truth.json").write_text(json.dumps(told, indent=1), encoding="utf-8")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--format", choices=FORMATS, default="nginx")
    parser.add_argument("-o", "--output", type=Path, default=Path("access.log"), metavar="LOG")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-truth", action="store_true", help="for giant logs: write no truth file")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument(
        "--all-distinct", action="store_const", const="all-distinct", dest="kind", default="usual"
    )
    kinds.add_argument(
        "--flood", action="store_const", const="flood", dest="kind", help="distinct unmatched targets"
    )
    kinds.add_argument("--self-test", action="store_true", help="check every label with Flask, write nothing")
    options = parser.parse_args()
    if options.lines > LAST_ID - FIRST_ID:
        parser.error(f"at most {LAST_ID - FIRST_ID} lines")
    if options.self_test:
        wrong = wrong_labels(options.seed)
        sys.exit("\n".join(wrong) if wrong else 0)
    generate(
        options.output,
        options.lines,
        FORMATS[options.format],
        options.kind,
        options.seed,
        not options.no_truth,
    )


if __name__ == "__main__":
    main()
