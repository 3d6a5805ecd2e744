"""What the middleware adds to a request, beside the bare app and one timing() a metric on a plain client.

    python benchmarks/middleware.py
    python benchmarks/middleware.py --agents       # the same with an Agent that is down, slow, restarted

The app answers with nothing, so that only routing and the middleware count; each variant has its turn, many
times. CPU includes the client's own threads.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench_app import make_app
from datadog.dogstatsd.base import DogStatsd
from measure import machine
from tables import table
from werkzeug.test import EnvironBuilder

from logstatsd import StatsdMiddleware
from logstatsd.live import timing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Any]

TARGETS = ("/blog/2024/7/hello", "/api/v1/orders", "/docs/a/b", "/nowhere", "/blog/2024")
LIMIT_US = 25.0


class Timed(NamedTuple):
    """A variant's requests, in microseconds each."""

    wall_us: float
    cpu_us: float
    slowest_us: float


def round_of(app: Wsgi, environs: list[dict[str, Any]]) -> Timed:
    """Serve each environ once, as a server does."""
    clock, slowest = time.perf_counter, 0.0
    cpu = time.process_time()
    begun = clock()
    for environ in environs:
        before = clock()
        body = app(dict(environ), lambda *_: None)
        for _ in body:
            pass
        body.close()
        slowest = max(slowest, clock() - before)
    wall = clock() - begun
    return Timed(wall / len(environs) * 1e6, (time.process_time() - cpu) / len(environs) * 1e6, slowest * 1e6)


def by_turns(variants: dict[str, Wsgi], requests: int, rounds: int) -> dict[str, Timed]:
    """The median of each variant's rounds."""
    environs = [
        EnvironBuilder(path=TARGETS[number % len(TARGETS)]).get_environ() for number in range(requests)
    ]
    for app in variants.values():
        round_of(app, environs)
    seen = [{name: round_of(app, environs) for name, app in variants.items()} for _ in range(rounds)]
    return {
        name: Timed(
            *(statistics.median(column) for column in zip(*(each[name] for each in seen), strict=True))
        )
        for name in variants
    }


def naive(app: Wsgi, client: DogStatsd) -> Wsgi:
    """The least that one would write: two timing() calls a request, and a label that costs nothing."""
    tags = ["http_method:GET", "http_status_code:200", "endpoint:view", "url_rule:/blog/_int:year_/"]

    def measured(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        wall, cpu = time.perf_counter(), time.thread_time()
        body = app(environ, start_response)
        client.timing("bench.api.request", (time.perf_counter() - wall) * 1000, tags)
        client.timing("bench.api.request.cpu", (time.thread_time() - cpu) * 1000, tags)
        return body

    return measured


@contextmanager
def an_agent(url: str) -> Iterator[DogStatsd]:
    """A client as the middleware makes one, for the Agent at a DD_DOGSTATSD_URL."""
    os.environ["DD_DOGSTATSD_URL"] = url
    client = timing.new_client()
    try:
        yield client
    finally:
        timing.stop(client)


READER = """
import socket, sys
agent = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
agent.bind(sys.argv[1])
print(flush=True)
while True:
    agent.recv(65536)
"""


@contextmanager
def reading(path: str) -> Iterator[str]:
    """An Agent, in a process of its own, that reads at once; its URL."""
    agent = subprocess.Popen([sys.executable, "-c", READER, path], stdout=subprocess.PIPE)
    try:
        agent.stdout.readline()  # type: ignore[union-attr]
        yield f"unixgram://{path}"
    finally:
        agent.kill()
        agent.communicate()


def cost(requests: int, rounds: int) -> list[list[str]]:
    """The bare app, ours and the plain client's, to an Agent on this machine."""
    bare = make_app()
    with (
        tempfile.TemporaryDirectory() as directory,
        reading(f"{directory}/agent") as url,
        an_agent(url) as client,
    ):
        plain = DogStatsd(disable_telemetry=True)
        found = by_turns(
            {
                "bare app": bare,
                "StatsdMiddleware": StatsdMiddleware(bare, statsd=client),
                "one timing() a metric, unbuffered": naive(bare, plain),
            },
            requests,
            rounds,
        )
    base, ours = found["bare app"], found["StatsdMiddleware"]
    added = ours.wall_us - base.wall_us
    rows = []
    for name, each in found.items():
        more = (f"{each.wall_us - base.wall_us:+.1f}", f"{each.cpu_us - base.cpu_us:+.1f}")
        rows.append([name, *more, f"{each.wall_us:.1f}", f"{each.wall_us / base.wall_us:.2f}"])
    rows.append(["limit", f"{LIMIT_US:+.1f}", "", "", "met" if added <= LIMIT_US else "MISSED"])
    return rows


def agents(requests: int, rounds: int) -> list[list[str]]:
    """The middleware, with Agents in every condition."""
    app = make_app()
    with (
        tempfile.TemporaryDirectory() as directory,
        reading(f"{directory}/reading") as well,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stuck,
    ):
        stuck.bind(f"{directory}/stuck")
        restarting = Restarting(Path(directory, "restarting"))
        conditions = {
            "Agent reads": well,
            "Agent reads nothing": f"unixgram://{directory}/stuck",
            "no socket there": f"unixgram://{directory}/none",
            "UDP port closed": "udp://127.0.0.1:9",
            "restarted ten times a second": f"unixgram://{restarting.path}",
        }
        managers = [an_agent(url) for url in conditions.values()]
        clients = [manager.__enter__() for manager in managers]
        found = by_turns(
            {
                name: StatsdMiddleware(app, statsd=client)
                for name, client in zip(conditions, clients, strict=True)
            },
            requests,
            rounds,
        )
        for manager in managers:
            manager.__exit__(None, None, None)
        restarting.end()
    base = found["Agent reads"]
    return [
        [name, f"{each.wall_us:.1f}", f"{each.wall_us / base.wall_us:.2f}", f"{each.slowest_us / 1000:.1f}"]
        for name, each in found.items()
    ]


class Restarting:
    """An Agent that comes and goes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as agent:
                agent.bind(str(self.path))
                self._ended.wait(0.05)
            self.path.unlink()
            self._ended.wait(0.05)

    def end(self) -> None:
        """End it for good."""
        self._ended.set()
        self._thread.join()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=400, help="in each round (default 400)")
    parser.add_argument("--rounds", type=int, default=81, help="of each variant, by turns (default 81)")
    parser.add_argument("--agents", action="store_true", help="compare Agents in every condition")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    print(f"{machine()}; medians of {options.rounds} rounds of {options.requests} requests by turns\n")
    if options.agents:
        header = ("Agent", "µs a request", "÷ reads", "slowest of a round, ms")
        print(table(header, agents(options.requests, options.rounds), options.markdown))
    else:
        header = ("variant", "added µs", "added CPU µs", "µs a request", "÷ bare")
        print(table(header, cost(options.requests, options.rounds), options.markdown))


if __name__ == "__main__":
    main()
