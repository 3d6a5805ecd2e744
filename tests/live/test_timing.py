"""Timing any block: wall and CPU time, as a context manager or a decorator, and constant tags on a client."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock, call

import pytest
from live import Broken, Recorder
from receivers import receiving, series

import logstatsd
from logstatsd import StatsD, TimingStats
from logstatsd.live import timing


@pytest.fixture
def statsd() -> Recorder:
    return Recorder()


def test_a_block_is_timed_as_wall_and_cpu_time_in_milliseconds(statsd: Recorder) -> None:
    with TimingStats("checkout.total", tags=["step:pay"], statsd=statsd, sample_rate=0.5) as timed:
        time.sleep(0.02)

    wall, cpu = statsd.sent
    assert (wall.name, cpu.name) == ("checkout.total", "checkout.total.cpu")
    assert wall.tags == cpu.tags == {"step": "pay"}
    assert wall.sample_rate == cpu.sample_rate == 0.5
    assert wall.value == timed.wall_us / 1000 >= 20
    assert cpu.value == (timed.cpu_us or 0) / 1000 < 20


def test_a_decorated_function_may_run_in_many_threads_at_once(statsd: Recorder) -> None:
    together = threading.Barrier(8)

    @TimingStats("work", statsd=statsd)
    def work(number: int) -> int:
        """Do it."""
        together.wait(10)
        return number * 2

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [number * 2 for number in range(8)]

    assert len(statsd.walls) == len(statsd.cpus) == 8
    assert (work.__name__, work.__doc__) == ("work", "Do it.")


def test_an_async_function_is_timed_until_it_returns_without_cpu_time(statsd: Recorder) -> None:
    @TimingStats("fetch", statsd=statsd)
    async def fetch() -> str:
        await asyncio.sleep(0.02)
        return "fetched"

    assert asyncio.run(fetch()) == "fetched"
    assert [each.name for each in statsd.sent] == ["fetch"]
    assert statsd.sent[0].value >= 20


def test_a_block_that_raises_is_timed_and_its_error_goes_on(statsd: Recorder) -> None:
    with pytest.raises(KeyError), TimingStats("fails", statsd=statsd):
        raise KeyError

    assert len(statsd.walls) == 1


def test_a_client_that_fails_is_not_noticed() -> None:
    with TimingStats("x", statsd=Broken()):
        pass


def test_names_and_tags_are_made_safe(statsd: Recorder) -> None:
    with TimingStats("a|b:c\nd", tags=["k:v|w,x"], statsd=statsd):
        pass

    assert statsd.walls[0].name == "a_b_c_d"
    assert statsd.walls[0].tags == {"k": "v_w_x"}


def test_statsd_adds_its_tags_to_whatever_the_client_is_told() -> None:
    client = Mock()
    orders = StatsD(client, tags=["team:orders"])

    orders.increment("placed", tags=["market:de"])
    orders.count("items", 3)
    orders.gauge("open", 7)
    orders.timing("pay", 12.5, sample_rate=0.5)
    orders.distribution("price", 9.5)

    assert client.mock_calls == [
        call.increment("placed", 1, ["market:de", "team:orders"], None),
        call.count("items", 3, ["team:orders"], None),
        call.gauge("open", 7, ["team:orders"], None),
        call.timing("pay", 12.5, ["team:orders"], 0.5),
        call.distribution("price", 9.5, ["team:orders"], None),
    ]


def test_the_default_client_is_one_with_the_environments_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_once", {})
    with receiving() as inbox:
        monkeypatch.setenv("DD_DOGSTATSD_URL", f"udp://127.0.0.1:{inbox.address[1]}")
        monkeypatch.setenv("DD_ENV", "prod")
        monkeypatch.setenv("DD_ORIGIN_DETECTION_ENABLED", "false")
        with ThreadPoolExecutor(8) as pool:
            clients = list(pool.map(lambda _: timing.default_client(), range(8)))
        StatsD(tags=["a:b"]).increment("hits")
        timing.stop(clients[0])

    assert len(set(map(id, clients))) == 1
    assert inbox.counts == {series("hits", type="c", a="b", env="prod"): 1}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_sends_its_own_and_nothing_of_its_parents(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as inbox:
        monkeypatch.setenv("DD_DOGSTATSD_URL", f"udp://127.0.0.1:{inbox.address[1]}")
        client = timing.new_client()
        client.increment("parent")
        child = os.fork()
        if not child:
            client.increment("child")
            timing.stop(client)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        client.increment("parent")
        timing.stop(client)

    assert {each.name: count for each, count in inbox.counts.items()} == {"parent": 2, "child": 1}


def test_the_package_gives_the_names_of_a_live_app_when_asked() -> None:
    assert logstatsd.TimingStats is TimingStats
    with pytest.raises(AttributeError, match="Middlewares"):
        _ = logstatsd.Middlewares  # type: ignore[attr-defined]


def test_the_package_alone_imports_neither_flask_nor_the_client() -> None:
    script = "import logstatsd, sys; sys.exit(not {'flask', 'werkzeug', 'datadog'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
