"""Real StatsD servers get every value of a replay, in the dialect that each understands."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from batches import busy_batch
from servers import statsd
from statsd_servers import collectd, statsd_exporter

from logstatsd.delivery.destination import open_sink
from logstatsd.delivery.encoders.timings import TimingEncoder
from logstatsd.delivery.naming import Naming

if TYPE_CHECKING:
    from pathlib import Path

    from logstatsd.delivery.sink import Sink

pytestmark = pytest.mark.slow

VALUES = 50_000
NAME = "shop.api.request"


def replay(sink: Sink, least_ms: int = 0, **options: object) -> tuple[Counter[str], dict[str, float]]:
    """Send VALUES durations; what was due by endpoint: how many, and their sum in milliseconds."""
    counts: Counter[str] = Counter()
    sums: dict[str, float] = {}
    with sink:
        sending = TimingEncoder(Naming("shop"), sink, **options)  # type: ignore[arg-type]
        for seed in range(VALUES // 10_000):
            batch = busy_batch(10_000, seed, least_ms=least_ms)
            for series, durations in batch.timings.items():
                endpoint = str(series.route.endpoint).rpartition(".")[2]
                counts[endpoint] += sum(durations.values())
                total_us = sum(us * count for us, count in durations.items() if us is not None)
                sums[endpoint] = sums.get(endpoint, 0) + total_us / 1000
            sending.add(batch)
            sending.flush()
        assert sending.finish()[:4] == (VALUES, VALUES, 0, 0)
    return counts, sums


@pytest.mark.real_server("node", "statsd")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("dialect", ["statsd", "graphite", "dogstatsd"])
def test_npm_statsd(dialect: str, transport: str, tmp_path: Path) -> None:
    with statsd(directory=tmp_path, transport=transport) as server:
        sink = open_sink(server.address.host, server.address.port, tcp=transport == "tcp")
        counts, sums = replay(sink, dialect=dialect)
        seen = server.finish(expect=VALUES)
    assert seen.bad_lines == 0
    by_endpoint = {key.partition("view_")[2].split(".")[0].split(";")[0]: key for key in seen.timers}
    assert len(by_endpoint) == len(seen.timers) == len(counts)
    for number, key in by_endpoint.items():
        assert seen.counts[key] == counts[f"view_{number}"]
        assert sum(seen.timers[key]) == pytest.approx(sums[f"view_{number}"])
        assert key.startswith(
            NAME + (".GET.200.blueprint_view_" if dialect == "statsd" else ";http_method=GET")
        )


@pytest.mark.real_server("collectd")
def test_collectd(tmp_path: Path) -> None:
    with collectd(tmp_path) as server:
        # collectd leaves a timing of zero out of its counts.
        counts, sums = replay(open_sink(*server.address), dialect="statsd", least_ms=1)
        seen = server.received(VALUES)
        seen_sums = server.sums()
    assert {
        name.partition("blueprint_")[2].partition(".")[0]: count for name, count in seen.items()
    } == counts
    for name, total in seen_sums.items():
        endpoint = name.partition("blueprint_")[2].partition(".")[0]
        assert total == pytest.approx(sums[endpoint], rel=1e-3)


@pytest.mark.real_server("statsd_exporter")
@pytest.mark.parametrize("transport", ["udp", "tcp", "unixgram"])
@pytest.mark.parametrize(
    "options",
    [{}, {"pack": True}, {"dialect": "influx"}, {"wire_type": "distribution"}],
    ids=["dogstatsd", "packed", "influx", "distribution"],
)
def test_statsd_exporter(options: dict[str, object], transport: str, tmp_path: Path) -> None:
    with statsd_exporter(tmp_path) as server:
        if transport == "unixgram":
            sink = open_sink(socket_path=f"unixgram://{server.socket_path}")
        else:
            sink = open_sink(*(server.tcp if transport == "tcp" else server.address), tcp=transport == "tcp")
        counts, sums = replay(sink, **options)
        seen, seen_sums = server.received(VALUES), server.metrics("sum")
    endpoints = {name: name.partition("blueprint.")[2].partition('"')[0] for name in seen}
    assert {endpoints[name]: count for name, count in seen.items()} == counts
    # ms become the seconds that Prometheus wants; other types stay as they are.
    scale = 1 if "wire_type" in options else 1000
    for name, total in seen_sums.items():
        endpoint = name.partition("blueprint.")[2].partition('"')[0]
        assert total * scale == pytest.approx(sums[endpoint])
