"""The middleware under real gunicorn and before real Agents that are down, slow or restarted."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from flask import Flask
from live import served
from parity import ENV, WORKERS, compare, destination, replay, requests_of_every_kind, send
from places import SUPPORT
from receivers import receiving, series
from servers import gunicorn, nginx, poll
from traffic import Request

from logstatsd import StatsdMiddleware
from logstatsd.live import timing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from datadog.dogstatsd.base import DogStatsd

pytestmark = pytest.mark.slow


# --- parity ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("worker", WORKERS)
def test_live_and_replayed_are_the_same_series_with_the_same_counts(tmp_path: Path, worker: str) -> None:
    found = compare(requests_of_every_kind(count=300, seed=5), worker, tmp_path)

    assert found.differing == {}
    assert found.requests > 200
    has_cpu = any(series.name == "shop.api.request.cpu" for series in found.live)
    assert has_cpu == (worker != "gevent")


@pytest.mark.parametrize("worker", ["gthread", "gevent"])
def test_no_series_carries_the_status_of_another_request(tmp_path: Path, worker: str) -> None:
    statuses = [200 + number % 40 * 10 for number in range(400)]
    with (
        receiving() as inbox,
        gunicorn(
            "measured_shop:app",
            directory=SUPPORT,
            log=tmp_path / "gunicorn.log",
            worker_class=worker,
            threads=32,
            env=ENV | destination(inbox.address),
            # The client is made before the fork, and in gevent's case before anything is patched.
            options=("--preload",),
        ) as app,
    ):
        send(app, [Request(b"/answers/%d" % status) for status in statuses], clients=100)

    walls = {key: count for key, count in inbox.counts.items() if not key.name.endswith(".cpu")}
    assert walls == {
        series(
            "shop.api.request",
            http_method="GET",
            http_status_code=status,
            endpoint="answers",
            url_rule="/answers/_int:status_",
        ): count
        for status, count in Counter(statuses).items()
    }


@pytest.mark.real_server("nginx")
def test_cpu_times_get_into_nginxs_log_by_a_header_and_from_there_into_a_replay(tmp_path: Path) -> None:
    log_format = (
        '$remote_addr [$time_local] "$request" $status $request_time $upstream_http_x_logstatsd_cpu_us'
    )
    with (
        receiving() as live,
        gunicorn(
            "measured_shop:app",
            directory=SUPPORT,
            log=tmp_path / "gunicorn.log",
            env=ENV | destination(live.address),
        ) as app,
        nginx(app, directory=tmp_path, logs={"nginx.log": f"'{log_format}'"}) as front,
    ):
        send(front, [Request(b"/health"), Request(b"/api/users/ann"), Request(b"/nothing")] * 5, clients=1)
    with receiving() as replayed:
        replay(tmp_path / "nginx.log", replayed.address, log_format)

    assert replayed.counts == live.counts
    assert sum(count for key, count in live.counts.items() if key.name == "shop.api.request.cpu") == 15


# --- Agents ---------------------------------------------------------------------------------------------


@pytest.fixture
def app() -> Flask:
    """An app with one page."""
    app = Flask("one")
    app.add_url_rule("/", "page", lambda: "page")
    return app


def client(monkeypatch: pytest.MonkeyPatch, url: str) -> Iterator[DogStatsd]:
    """A client as the middleware makes one, for an Agent at a DD_DOGSTATSD_URL."""
    monkeypatch.setenv("DD_DOGSTATSD_URL", url)
    made = timing.new_client()
    yield made
    timing.stop(made)


def serve(app: Flask, statsd: DogStatsd, requests: int) -> None:
    """Serve requests: returning at all means that none has waited for the Agent."""
    measured = StatsdMiddleware(app, statsd=statsd)
    for _ in range(requests):
        assert served(measured)[1] == "200 OK"


def test_requests_do_not_wait_for_a_name_server_that_does_not_answer(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()

    def resolve(*_: object) -> list[object]:
        answers.wait(20)
        return []

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    for statsd in client(monkeypatch, "udp://agent.invalid:8125"):
        serve(app, statsd, 2000)
        assert not answers.is_set()
        answers.set()


def test_requests_do_not_wait_for_an_agent_that_does_not_read(
    app: Flask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(timing, "EXIT_TIMEOUT_S", 0.1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as agent:
        agent.bind(str(tmp_path / "agent.sock"))
        for statsd in client(monkeypatch, f"unixgram://{tmp_path / 'agent.sock'}"):
            serve(app, statsd, 2000)


@pytest.mark.parametrize("url", ["udp://127.0.0.1:9", "unix:///nonexistent/agent.sock"])
def test_requests_do_not_notice_an_agent_that_is_down(
    app: Flask, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    for statsd in client(monkeypatch, url):
        serve(app, statsd, 500)


def test_an_agent_that_is_restarted_gets_what_comes_then(
    app: Flask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for statsd in client(monkeypatch, f"unixgram://{tmp_path / 'unixgram.sock'}"):
        with receiving("unixgram", directory=tmp_path) as first:
            serve(app, statsd, 20)
            statsd.wait_for_pending()
        (tmp_path / "unixgram.sock").unlink()
        serve(app, statsd, 20)
        statsd.wait_for_pending()
        with receiving("unixgram", directory=tmp_path) as second:
            serve(app, statsd, 20)
            statsd.wait_for_pending()

    for inbox in (first, second):
        assert sum(inbox.counts.values()) == 40


def test_what_is_buffered_is_sent_though_no_request_follows(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as inbox:
        for statsd in client(monkeypatch, f"udp://127.0.0.1:{inbox.address[1]}"):
            serve(app, statsd, 1)
            poll("the client's own flush", lambda: len(inbox.lines) == 2)
