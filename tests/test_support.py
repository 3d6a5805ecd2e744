"""The real servers of `servers`, the receivers of `receivers` and the referee do what they say."""

from __future__ import annotations

import json
import re
import socket
import struct
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from places import ROOT, SAMPLE_LOGS, SUPPORT, TESTS
from receivers import Transport, parse, receiving, series
from referee import read_notes
from servers import (
    COMBINED_TIMED,
    GUNICORN_DEFAULT,
    Address,
    exchange,
    gunicorn,
    nginx,
    path_of,
    statsd,
    takes_connections,
)

from logstatsd.model.route import METHOD_NOT_ALLOWED, REDIRECT, UNMATCHED

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

pytest_plugins = ["pytester"]


def get(address: Address, target: str, method: str = "GET", request_id: str = "-") -> int:
    """Ask for a target and return the answer's status."""
    head = f"{method} {target} HTTP/1.1\r\nHost: shop.example\r\nX-Request-Id: {request_id}\r\n"
    answer = exchange(address, f"{head}Connection: close\r\n\r\n".encode())
    return int(answer.split(b" ", 2)[1])


# --- gunicorn and nginx ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("worker_class", ["sync", "gthread"])
def test_gunicorn_logs_each_request_in_the_format_it_was_given(tmp_path: Path, worker_class: str) -> None:
    log = tmp_path / "gunicorn.log"
    with gunicorn(
        "shop:app",
        directory=SAMPLE_LOGS,
        log=log,
        log_format=GUNICORN_DEFAULT + " %(D)s",
        worker_class=worker_class,
        workers=2,
        threads=2,
    ) as app:
        statuses = [get(app, target) for target in ("/health", "/about", "/nowhere")]

    assert statuses == [200, 308, 404]
    lines = log.read_text().splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r'127\.0\.0\.1 - - \[.*\] "GET /health HTTP/1\.1" 200 16 "-" "-" \d+', lines[0])


@pytest.mark.slow
def test_gunicorn_that_cannot_load_its_app_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(ConnectionError) as failure,
        gunicorn("no_such_module:app", directory=tmp_path, log=tmp_path / "gunicorn.log") as app,
    ):
        while True:
            with socket.create_connection(app) as connection:
                connection.recv(1)

    assert "No module named 'no_such_module'" in "".join(failure.value.__notes__)


@pytest.mark.slow
@pytest.mark.real_server("nginx")
def test_nginx_serves_the_sample_app_and_logs_fifty_requests_in_two_formats(tmp_path: Path) -> None:
    logs = {
        "nginx.log": COMBINED_TIMED,
        "nginx.json.log": """escape=json '{"uri":"$request_uri","upstream":"$upstream_addr"}'""",
    }
    with (
        gunicorn("shop:app", directory=SAMPLE_LOGS, log=tmp_path / "gunicorn.log") as app,
        nginx(app, directory=tmp_path, logs=logs) as front,
    ):
        statuses = Counter(get(front, f"/api/users/user{number}") for number in range(50))

    assert statuses == {200: 50}
    combined = (tmp_path / "nginx.log").read_text().splitlines()
    assert len(combined) == 50
    assert all(re.search(r'" 200 \d+ "-" "-" \d+\.\d{3}$', line) for line in combined)
    objects = [json.loads(line) for line in (tmp_path / "nginx.json.log").read_text().splitlines()]
    assert [entry["uri"] for entry in objects] == [f"/api/users/user{number}" for number in range(50)]
    assert {entry["upstream"] for entry in objects} == {f"{app.host}:{app.port}"}
    assert len((tmp_path / "gunicorn.log").read_text().splitlines()) == 50


@pytest.mark.slow
def test_a_server_is_gone_once_its_block_is_left(tmp_path: Path) -> None:
    with gunicorn("shop:app", directory=SAMPLE_LOGS, log=tmp_path / "gunicorn.log") as app:
        assert takes_connections(app)

    assert not takes_connections(app)


# --- the referee ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_referee_writes_down_what_flask_matched(tmp_path: Path) -> None:
    notes = tmp_path / "notes.jsonl"
    asked = [
        ("GET", "/api/users/ann?page=2"),
        ("GET", "/api/products/sku/AB-1234-9"),
        ("GET", "/api/markets/su/offers"),
        ("POST", "/health"),
        ("GET", "/about"),
        ("GET", "/admin/"),
        ("POST", "/api/orders/00000000-0000-0000-0000-000000000000/refund"),
    ]
    with refereed_gunicorn(tmp_path, notes) as app:
        for number, (method, target) in enumerate(asked):
            get(app, target, method, f"r{number}")

    assert [(note.id, note.status, *note.route) for note in read_notes(notes)] == [
        ("r0", 200, "/api/users/<username>", "api.customers.user", "matched"),
        ("r1", 404, *UNMATCHED),
        ("r2", 410, *UNMATCHED),
        ("r3", 405, *METHOD_NOT_ALLOWED),
        ("r4", 308, *REDIRECT),
        ("r5", 401, "/admin/", "admin.dashboard", "matched"),
        ("r6", 500, "/api/orders/<uuid:order_id>/refund", "api.orders.refund", "matched"),
    ]
    assert [(note.method, note.target) for note in read_notes(notes)] == asked


@pytest.mark.slow
def test_the_referee_loses_no_line_between_workers(tmp_path: Path) -> None:
    notes = tmp_path / "notes.jsonl"
    with (
        refereed_gunicorn(tmp_path, notes, workers=2) as app,
        ThreadPoolExecutor(8) as clients,
    ):
        list(clients.map(lambda number: get(app, "/health", request_id=f"r{number}"), range(200)))

    assert Counter(note.id for note in read_notes(notes)) == Counter(f"r{number}" for number in range(200))


def refereed_gunicorn(tmp_path: Path, notes: Path, workers: int = 1) -> AbstractContextManager[Address]:
    """gunicorn that serves the sample app through the referee."""
    return gunicorn(
        f"referee:refereed('shop:app', {str(notes)!r})",
        directory=SUPPORT,
        log=tmp_path / "gunicorn.log",
        worker_class="gthread",
        workers=workers,
        threads=4,
        env={"PYTHONPATH": str(SAMPLE_LOGS)},
    )


# --- npm statsd -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.real_server("node", "statsd")
def test_npm_statsd_gives_back_every_timing_and_count(tmp_path: Path) -> None:
    with (
        statsd(directory=tmp_path) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        # More timings than its management port would show, few enough datagrams for its receive queue.
        for start in range(0, 300, 20):
            lines = [
                f"shop.api:{value}|ms|#http_method:GET,rule:/users/x" for value in range(start, start + 20)
            ]
            sender.sendto("\n".join(lines).encode(), server.address)
        sender.sendto(b"sampled:7|ms|@0.25\nnot a metric|", server.address)
        seen = server.finish()

    key = "shop.api;http_method=GET;rule=-users-x"
    assert sorted(seen.timers[key]) == list(range(300))
    assert seen.counts == {key: 300, "sampled": 4}
    assert seen.bad_lines == 1


@pytest.mark.slow
@pytest.mark.real_server("node", "statsd")
def test_npm_statsd_over_tcp_is_awaited_by_the_number_of_metrics(tmp_path: Path) -> None:
    with statsd(directory=tmp_path, transport="tcp") as server:
        with socket.create_connection(server.address) as sender:
            sender.sendall(b"shop.api:1.5|ms\n" * 100)
        seen = server.finish(expect=100)

    assert seen.timers == {"shop.api": [1.5] * 100}


# --- the counting receivers -----------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["udp", "unixgram"])
def test_a_datagram_receiver_has_everything_that_was_sent_in_its_block(
    tmp_path: Path, transport: Transport
) -> None:
    family = socket.AF_INET if transport == "udp" else socket.AF_UNIX
    with (
        receiving(transport, directory=tmp_path) as inbox,
        socket.socket(family, socket.SOCK_DGRAM) as sender,
    ):
        sender.connect(inbox.address)
        for value in range(2000):
            sender.send(f"users.get:{value}|ms|#http_method:GET\nother:1|c".encode())

    assert inbox.counts == {series("users.get", http_method="GET"): 2000, series("other", "c"): 2000}
    assert inbox.timings[series("users.get", http_method="GET")] == Counter(range(2000))


def test_a_tcp_receiver_reads_lines_of_several_connections_however_they_are_cut(tmp_path: Path) -> None:
    with receiving("tcp") as inbox:
        assert isinstance(inbox.address, Address)
        for _ in range(3):
            with socket.create_connection(inbox.address) as sender:
                sender.sendall(b"users.get:1|ms\nusers.")
                sender.sendall(b"get:2|ms\n")

    assert inbox.timings == {series("users.get"): Counter({1.0: 3, 2.0: 3})}


def test_a_unix_stream_receiver_reads_datadogs_length_prefixed_packets(tmp_path: Path) -> None:
    packet = b"users.get:1|ms\nusers.get:2|ms\n"
    with (
        receiving("unixstream", directory=tmp_path) as inbox,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sender,
    ):
        sender.connect(inbox.address)
        for _ in range(1000):
            sender.sendall(struct.pack("<I", len(packet)) + packet)

    assert inbox.counts == {series("users.get"): 2000}


def test_a_stream_that_ends_within_a_packet_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="within a packet"),
        receiving("unixstream", directory=tmp_path) as inbox,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sender,
    ):
        sender.connect(inbox.address)
        sender.sendall(struct.pack("<I", 100) + b"users.get:1|ms")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a.b:1.5|ms", (series("a.b"), (1.5,), 1.0)),
        ("a.b:1:2:3|d|@0.5|#k:v", (series("a.b", "d", k="v"), (1.0, 2.0, 3.0), 0.5)),
        ("a.b:1|c|#k:v:w,bare", (("a.b", "c", frozenset({"k:v:w", "bare"})), (1.0,), 1.0)),
    ],
)
def test_parse_reads_a_line(line: str, expected: tuple[object, ...]) -> None:
    assert parse(line) == expected


@pytest.mark.parametrize("line", ["", "a.b", "a.b:1", ":1|ms", "a.b:x|ms", "a.b:1|ms|?"])
def test_parse_refuses_what_is_no_metric(line: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(line)


# --- what a test needs ----------------------------------------------------------------------------------


def test_need_gives_the_path_of_a_program(need: Callable[[str], str]) -> None:
    assert need("sh") == path_of("sh")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "outcome"), [([], {"skipped": 2}), (["--require-real"], {"failed": 1, "errors": 1})]
)
def test_a_missing_program_skips_or_fails_as_asked(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, arguments: list[str], outcome: dict[str, int]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT))
    pytester.makeconftest((TESTS / "conftest.py").read_text())
    pytester.makepyprojecttoml((ROOT / "pyproject.toml").read_text())
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.real_server("no_such_program")
        def test_by_marker(): ...

        def test_by_fixture(need):
            need("no_such_program")
        """
    )

    result = pytester.runpytest_subprocess(".", *arguments)

    result.assert_outcomes(**outcome)
    result.stdout.fnmatch_lines(["*no_such_program is not installed*"])
