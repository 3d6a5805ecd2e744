"""Send a million timings to every kind of receiver: due = sent = received in each, and how fast.

    python benchmarks/delivery.py                     # the table of docs/delivery.md
    python benchmarks/delivery.py --lines 50000 --only udp "npm statsd"

The log is parsed before the clock starts: what is measured is encoding and delivery, until the receiver has
taken everything. Real servers that are not installed are left out, and said so (tests/support/servers.py
tells where they are looked for).
"""

from __future__ import annotations

import argparse
import multiprocessing
import socket
import struct
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from logs import ensure

from logstatsd.delivery.destination import open_sink
from logstatsd.delivery.encoders.timings import TimingEncoder
from logstatsd.delivery.naming import Naming
from logstatsd.model.batch import Batch
from logstatsd.routing import app as apps
from logstatsd.routing.router import Router
from logstatsd.scan.logs import open_logs
from logstatsd.scan.run import Run
from logstatsd.scan.settle import Settler

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "support"))
BATCH_LINES = 10_000

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from logstatsd.delivery.encoders.encoder import Totals

from servers import path_of, statsd  # noqa: E402
from statsd_servers import collectd, statsd_exporter  # noqa: E402


class Destination(NamedTuple):
    """Where to send, with open_sink's arguments, and what tells how many of the values due have arrived."""

    where: dict[str, object]
    received: Callable[[int], int]


class Case(NamedTuple):
    """One row of the table."""

    name: str
    receiver: Callable[[Path], Iterator[Destination]]
    options: Mapping[str, object] = MappingProxyType({})
    sink: Mapping[str, object] = MappingProxyType({})
    needs: tuple[str, ...] = ()
    least_us: int = 0
    """What shorter durations are made: collectd leaves those of zero out of its counts."""


# --- receivers ------------------------------------------------------------------------------------------


def values_of(lines: Iterable[bytes]) -> int:
    """How many values the lines hold, packed or not."""
    return sum(line.partition(b"|")[0].count(b":") for line in lines)


def count(
    kind: str, bound: socket.socket, pause_s: float, answer: multiprocessing.connection.Connection
) -> None:
    """Receive until a packet that says stop, or the end of the stream, and tell how many values came."""
    values = 0
    if kind in ("udp", "unixgram"):
        while (packet := bound.recv(65536)) != b"stop":
            values += values_of(packet.splitlines())
            if pause_s:
                time.sleep(pause_s)
    else:
        connection, _ = bound.accept()
        with connection, connection.makefile("rb", buffering=1 << 18) as stream:
            if kind == "unixstream":
                while size := stream.read(4):
                    packet = stream.read(struct.unpack("<I", size)[0])
                    values += values_of(packet.splitlines())
            else:
                values = values_of(stream)
    answer.send(values)


def counting(kind: str, pause_s: float = 0) -> Callable[[Path], Iterator[Destination]]:
    """A receiver in a process of its own, with the buffers that the system gives by default."""

    @contextmanager
    def receiver(directory: Path) -> Iterator[Destination]:
        unix, stream = kind.startswith("unix"), kind in ("unixstream", "tcp")
        path = str(directory / "counting.sock")
        bound = socket.socket(
            socket.AF_UNIX if unix else socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
        )
        bound.bind(path if unix else ("127.0.0.1", 0))
        if stream:
            bound.listen()
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(
            target=count, args=(kind, bound, pause_s, there)
        )
        process.start()
        address = bound.getsockname()
        bound.close()

        def received(_due: int) -> int:
            if not stream:
                with socket.socket(socket.AF_UNIX if unix else socket.AF_INET, socket.SOCK_DGRAM) as stopper:
                    stopper.sendto(b"stop", address)
            values: int = here.recv()
            process.join()
            return values

        where = {"socket_path": f"{kind}://{path}"} if unix else {"host": address[0], "port": address[1]}
        yield Destination({**where, "tcp": kind == "tcp"}, received)
        process.terminate()

    return receiver


@contextmanager
def npm(directory: Path, transport: str) -> Iterator[Destination]:
    with statsd(directory=directory, transport=transport) as server:
        where = {"host": server.address.host, "port": server.address.port, "tcp": transport == "tcp"}
        yield Destination(
            where, lambda due: int(sum(server.finish(due if transport == "tcp" else 0).counts.values()))
        )


@contextmanager
def collectd_counts(directory: Path) -> Iterator[Destination]:
    with collectd(directory) as server:
        where = {"host": server.address.host, "port": server.address.port}
        yield Destination(where, lambda due: sum(server.received(due).values()))


@contextmanager
def exporter(directory: Path, transport: str) -> Iterator[Destination]:
    with statsd_exporter(directory) as server:
        address = server.tcp if transport == "tcp" else server.address
        where: dict[str, object] = {"host": address.host, "port": address.port, "tcp": transport == "tcp"}
        if transport == "unixgram":
            where = {"socket_path": f"unixgram://{server.socket_path}"}
        yield Destination(where, lambda due: sum(server.received(due).values()))


KINDS = {"udp": "UDP", "unixgram": "Unix datagram", "unixstream": "Unix stream", "tcp": "TCP"}
NPM, EXPORTER = ("node", "statsd"), ("statsd_exporter",)
CASES = (
    *(Case(f"counting receiver, {name}", counting(kind)) for kind, name in KINDS.items()),
    *(
        Case(f"counting receiver, {name}, `--pack`", counting(kind), {"pack": True})
        for kind, name in KINDS.items()
    ),
    Case("slowed receiver (100 µs a datagram), UDP", counting("udp", 0.0001)),
    Case("slowed receiver, UDP, `--rate 0` (no pacing)", counting("udp", 0.0001), sink={"rate": 0}),
    Case(
        "npm statsd, UDP, `--dialect graphite`", lambda at: npm(at, "udp"), {"dialect": "graphite"}, needs=NPM
    ),
    Case("npm statsd, UDP, `--dialect statsd`", lambda at: npm(at, "udp"), {"dialect": "statsd"}, needs=NPM),
    Case("npm statsd, TCP, `--dialect statsd`", lambda at: npm(at, "tcp"), {"dialect": "statsd"}, needs=NPM),
    Case(
        "collectd, UDP, `--dialect statsd`",
        collectd_counts,
        {"dialect": "statsd"},
        needs=("collectd",),
        least_us=1000,
    ),
    Case("statsd_exporter, UDP", lambda at: exporter(at, "udp"), needs=EXPORTER),
    Case("statsd_exporter, UDP, `--pack`", lambda at: exporter(at, "udp"), {"pack": True}, needs=EXPORTER),
    Case("statsd_exporter, TCP", lambda at: exporter(at, "tcp"), needs=EXPORTER),
    Case("statsd_exporter, Unix datagram", lambda at: exporter(at, "unixgram"), needs=EXPORTER),
)


# --- measuring ------------------------------------------------------------------------------------------


def parsed(log: Path) -> list[Batch]:
    """The log's Batches, of as many lines as in a replay."""
    app = apps.load((f"{HERE / 'bench_app.py'}:app",))
    settler = Settler(app)
    run = Run(open_logs((str(log),)), Router(app.snapshot()), jobs=1, lines=BATCH_LINES)
    return [settler.settle(piece.batch) for piece in run.pieces()]


def no_shorter(batches: list[Batch], least_us: int) -> list[Batch]:
    """The same, with durations of at least so much."""
    if not least_us:
        return batches
    lifted = []
    for batch in batches:
        timings: dict[object, dict[int | None, int]] = {}
        for series, durations in batch.timings.items():
            kept = timings[series] = {}
            for us, times in durations.items():
                key = us if us is None else max(us, least_us)
                kept[key] = kept.get(key, 0) + times
        lifted.append(Batch(timings=timings, period=batch.period))  # type: ignore[arg-type]
    return lifted


def measure(case: Case, batches: list[Batch]) -> tuple[Totals, int, float, float]:
    """Replay the batches: the totals, how many values arrived, wall seconds, our own CPU seconds."""
    with tempfile.TemporaryDirectory() as directory, case.receiver(Path(directory)) as destination:  # type: ignore[attr-defined]
        ready = no_shorter(batches, case.least_us)
        with open_sink(**destination.where, **case.sink) as sink:  # type: ignore[arg-type]
            sending = TimingEncoder(Naming("shop"), sink, **case.options)  # type: ignore[arg-type]
            began, began_cpu = time.perf_counter(), time.process_time()
            for batch in ready:
                sending.add(batch)
                sending.flush()
            totals = sending.finish()
            wall, cpu = time.perf_counter() - began, time.process_time() - began_cpu
        return totals, destination.received(totals.sent), wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--cache", type=Path, default=HERE / ".cache")
    parser.add_argument("--only", nargs="*", default=[], help="only rows whose name holds one of these")
    given = parser.parse_args()
    batches = parsed(ensure(given.cache, given.lines))
    print("| receiver | due | sent | dropped | received | values/s | our CPU, s |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for case in CASES:
        if given.only and not any(part.lower() in case.name.lower() for part in given.only):
            continue
        if missing := [program for program in case.needs if path_of(program) is None]:
            print(f"left out, for want of {', '.join(missing)}: {case.name}", file=sys.stderr)
            continue
        totals, received, wall, cpu = measure(case, batches)
        rate = totals.due / wall
        counts = (totals.due, totals.sent, totals.dropped, received)
        print(
            f"| {case.name} |",
            *(f"{number:,} |" for number in counts),
            f"{rate:,.0f} | {cpu:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
