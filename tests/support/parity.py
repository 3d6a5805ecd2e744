"""Live and replayed are one: what the middleware sends under gunicorn, and what a replay of its log sends.

    python tests/support/parity.py --requests 5000 --worker sync gthread gevent

Prints, a line a kind of worker, how many requests and series were compared, and how far the two clocks are
apart; exits 1 where a series differs in its count, other than by what `REFUSED` and `TORN_EARLY` say.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from command import MODULE, run
from places import SAMPLE_LOGS, SUPPORT
from receivers import Series, receiving
from servers import Address, exchange, gunicorn

sys.path.insert(0, str(SAMPLE_LOGS))

from measured_shop import GUNICORN_MEASURED
from traffic import Request, traffic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ENV = {
    "PYTHONPATH": f"{SAMPLE_LOGS}{os.pathsep}{SUPPORT}",
    # A container's id is no part of a series.
    "DD_ORIGIN_DETECTION_ENABLED": "false",
}
WORKERS = {"sync": (2, 1), "gthread": (2, 8), "gevent": (2, 1)}
"""The kinds of gunicorn's workers: how many processes, and how many threads each."""

REFUSED = {"url_rule:not_the_app"}
"""Explained: gunicorn's own 400s never reach the app."""
TORN_EARLY = {"url_rule:/torn/_int:at_/early", "http_status_code:200"}
"""Explained: a generator that raises before its first chunk is logged twice, as the 200 it was and as 500."""


@dataclass
class Comparison:
    """Values that were sent live and by the replay, a count a series."""

    live: Mapping[Series, int]
    replayed: Mapping[Series, int]
    apart_us: list[int]
    """Of each request whose body came to its end: the server's duration less ours."""

    @property
    def requests(self) -> int:
        return sum(count for series, count in self.live.items() if not series.name.endswith(".cpu"))

    @property
    def differing(self) -> dict[Series, tuple[int, int]]:
        """Live and replayed count of each series for which they differ and that is not explained."""
        explained = {
            series: count
            for series, count in self.replayed.items()
            if not (series.tags >= REFUSED or series.tags >= TORN_EARLY)
        }
        return {
            series: (self.live.get(series, 0), explained.get(series, 0))
            for series in self.live.keys() | explained.keys()
            if self.live.get(series, 0) != explained.get(series, 0)
        }


def requests_of_every_kind(count: int, seed: int) -> list[Request]:
    """The shop's visitors, and one request in six that fails or streams."""
    dice = random.Random(seed)
    targets = [b"/torn/1/late", b"/torn/1/early", b"/file", b"/api/orders/export.csv"]
    targets += [b"/answers/%d" % status for status in (200, 202, 302, 404, 410, 429, 500, 503)]
    ours = [Request(dice.choice(targets)) for _ in range(count // 6)]
    requests = [*traffic(seed, count - len(ours)), *ours]
    dice.shuffle(requests)
    return requests


def send(address: Address, requests: list[Request], clients: int) -> None:
    """Send all, by so many clients at once; some of them hang up before the answer."""
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda each: exchange(address, each.wire(), each.patience_s or 20), requests))


def compare(requests: list[Request], worker: str, directory: Path, clients: int = 16) -> Comparison:
    """Serve the requests with the middleware, then replay the log."""
    workers, threads = WORKERS[worker]
    log = directory / "gunicorn.log"
    with (
        receiving() as live,
        gunicorn(
            "measured_shop:app",
            directory=SUPPORT,
            log=log,
            log_format=GUNICORN_MEASURED,
            worker_class=worker,
            workers=workers,
            threads=threads,
            env=ENV | destination(live.address),
        ) as address,
    ):
        send(address, requests, clients)
    with receiving() as replayed:
        replay(log, replayed.address, GUNICORN_MEASURED)
    return Comparison(live.counts, replayed.counts, list(apart_us(log)))


def destination(address: Address | str) -> dict[str, str]:
    """The environment that sends metrics to a receiver."""
    assert isinstance(address, Address)
    return {"DD_AGENT_HOST": address.host, "DD_DOGSTATSD_PORT": str(address.port)}


def replay(log: Path, address: Address | str, log_format: str) -> None:
    """Replay a log as a user does."""
    arguments = [log, "--app", "measured_shop:app", "--log-format", log_format, "--quiet"]
    run("replay", *arguments, command=MODULE, cwd=SUPPORT, env=ENV | destination(address))


def apart_us(log: Path) -> Iterator[int]:
    """The server's duration of each request less ours, where the log has both."""
    for line in log.read_text(errors="replace").splitlines():
        server_us, _, ours_us = line.rsplit(" ", 3)[1:]
        if ours_us.isdecimal():
            yield int(server_us) - int(ours_us)


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--worker", nargs="+", choices=WORKERS, default=list(WORKERS))
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    failed = False
    for worker in options.worker:
        with tempfile.TemporaryDirectory() as directory:
            requests = requests_of_every_kind(options.requests, options.seed)
            found = compare(requests, worker, Path(directory), options.clients)
        points = statistics.quantiles(found.apart_us, n=100)
        apart = " ".join(f"p{at} {points[at - 1]:.0f}" for at in (1, 50, 90, 99))
        print(
            f"{worker}: {found.requests} of {len(requests)} requests reached the app;"
            f" {len(found.live)} series, {len(found.differing)} of them differ;"
            f" server's clock less ours, in µs: {apart} max {max(found.apart_us)}"
        )
        for series, (live, replayed) in found.differing.items():
            failed = True
            print(f"  {series.name} {sorted(series.tags)}: {live} live, {replayed} replayed")
    return failed


if __name__ == "__main__":
    sys.exit(main())
