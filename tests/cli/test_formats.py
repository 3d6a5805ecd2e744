"""Formats, clocks and windows as the commands have them: several logs, several formats, one answer."""

from __future__ import annotations

import json
import socket
import sys
from typing import TYPE_CHECKING

import pytest
from command import invoke
from places import SAMPLE_LOGS, SHOP
from servers import Address, exchange, free_port, gunicorn, nginx, running

from logstatsd.formats.detect import detect
from logstatsd.formats.presets import FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NGINX = FORMATS["nginx-upstream"].sample


def report(*arguments: object) -> dict[str, object]:
    found: dict[str, object] = json.loads(invoke("report", *arguments, "--app", SHOP, "--json", "-q").stdout)
    return found


def caption(*arguments: object) -> str:
    return invoke("report", *arguments, "--app", SHOP).stderr


def test_logs_of_different_formats_are_one_report() -> None:
    names = ("nginx.log", "nginx.json.log", "gunicorn.log", "gunicorn_default.log")
    logs = [SAMPLE_LOGS / name for name in names]

    together, alone = report(*logs), [report(log) for log in logs]

    assert together["lines"] == sum(each["lines"] for each in alone)  # type: ignore[misc]
    assert together["parsed"] == together["lines"]


# --- which clock ----------------------------------------------------------------------------------------


def test_the_caption_says_where_durations_come_from(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(NGINX + "\n")

    assert "durations from $request_time (seconds, to the millisecond)" in caption(log)
    chosen = caption(log, "--time-field", "upstream_response_time")
    assert "durations from $upstream_response_time (seconds of each upstream, added)" in chosen


def test_a_field_is_taken_in_the_unit_given(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text('{"method":"GET","url":"/health","status":200,"rt":42}\n')

    assert report(log)["rows"][0]["total_us"] == 42  # type: ignore[index]
    assert report(log, "--field", "duration=rt:ms")["rows"][0]["total_us"] == 42_000  # type: ignore[index]
    assert "durations from rt (milliseconds, maybe with decimals)" in caption(
        log, "--field", "duration=rt:ms"
    )


# --- which stretch of time ------------------------------------------------------------------------------


@pytest.fixture
def hourly(tmp_path: Path) -> Path:
    """One request an hour of 22 November 2026, in India."""
    log = tmp_path / "access.log"
    line = NGINX.replace("13:25:15 +0000", "{:02}:30:00 +0530")
    log.write_text("".join(f"{line.format(hour)}\n" for hour in range(24)))
    return log


@pytest.mark.parametrize(
    ("window", "lines"),
    [
        (["--since", "2026-11-22T13:30"], 11),  # the log's own clock, the beginning included
        (["--since", "2026-11-22T13:30:01"], 10),
        (["--until", "2026-11-22T13:30"], 13),  # the end left out
        (["--since", "2026-11-22T13:00", "--until", "2026-11-22T15:00"], 2),
        (["--since", "2026-11-22T08:00:00Z"], 11),
        (["--since", "2026-11-22T08:00:00+00:00", "--until", "2026-11-22 14:00"], 1),
        (["--since", "2026-11-22"], 24),
        (["--until", "2026-11-22"], 0),
    ],
)
def test_a_moment_without_an_offset_is_in_the_logs_own(hourly: Path, window: list[str], lines: int) -> None:
    found = report(hourly, *window)

    assert found["parsed"] == lines
    assert found["lines"] == found["parsed"] + found["outside"] + found["rejected"]  # type: ignore[operator]


def test_a_window_is_the_same_in_every_format_of_time(tmp_path: Path) -> None:
    lines = {
        "clf.log": '1 - - [22/Nov/2026:14:25:15 +0100] "GET /health HTTP/1.1" 200 5 "-" "-" 0.001',
        "iso.json": '{"time":"2026-11-22T13:25:15Z","method":"GET","url":"/health","status":200}',
        "unix.json": '{"ts":1795353915.5,"method":"GET","url":"/health","status":200}',
        "ms.json": '{"ts":1795353915500,"method":"GET","url":"/health","status":200}',
        "werkzeug.log": '1 - - [22/Nov/2026 13:25:15] "GET /health HTTP/1.1" 200 -',
    }
    for name, line in lines.items():
        (tmp_path / name).write_text(line + "\n")
        inside = report(tmp_path / name, "--since", "2026-11-22T13:25:15Z", "--until", "2026-11-22T13:25:16Z")
        before = report(tmp_path / name, "--until", "2026-11-22T13:25:15Z")

        assert (name, inside["parsed"], before["parsed"]) == (name, 1, 0)


# --- over the wire to syslog ----------------------------------------------------------------------------


@pytest.fixture
def syslog() -> Iterator[socket.socket]:
    """A syslog server over UDP: a line a datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        yield receiver


def received(syslog: socket.socket) -> bytes:
    """The next line about a request."""
    while b"GET" not in (line := syslog.recv(65_536)):
        pass
    return line.rstrip(b"\0\n") + b"\n"


REQUEST = b'GET /health?x=%C3%BC HTTP/1.1\r\nHost: shop\r\nUser-Agent: a "b"\r\nConnection: close\r\n\r\n'


@pytest.mark.real_server("nginx")
@pytest.mark.parametrize("options", ["", ",nohostname", ",tag=shop_nginx,severity=debug"])
def test_what_nginx_sends_to_syslog_is_read(tmp_path: Path, syslog: socket.socket, options: str) -> None:
    port = syslog.getsockname()[1]
    body = '\'$remote_addr - - [$time_local] "$request" $status 5 "-" "$http_user_agent" $request_time\''
    body += f"; access_log syslog:server=127.0.0.1:{port}{options} format_0"
    with (
        gunicorn("shop:app", directory=SAMPLE_LOGS, log=tmp_path / "app.log") as app,
        nginx(app, directory=tmp_path, logs={"access.log": body}) as front,
    ):
        exchange(front, REQUEST)
        line = received(syslog)

    assert line.startswith(b"<")
    found = detect(line, "syslog")
    assert (found.log_format.name, found.log_format.envelopes) == ("nginx", ("syslog",))


def test_what_gunicorn_sends_to_syslog_is_read(tmp_path: Path, syslog: socket.socket) -> None:
    port = syslog.getsockname()[1]
    options = ("--log-syslog", "--log-syslog-to", f"udp://127.0.0.1:{port}", "--log-level", "critical")
    with gunicorn("shop:app", directory=SAMPLE_LOGS, log=tmp_path / "app.log", options=options) as app:
        exchange(app, REQUEST)
        line = received(syslog)

    found = detect(line, "syslog")
    assert (found.log_format.name, found.log_format.envelopes) == ("gunicorn-default", ("syslog",))


# --- from Werkzeug's own server -------------------------------------------------------------------------


def test_what_werkzeugs_development_server_prints_is_read(tmp_path: Path) -> None:
    address = Address("127.0.0.1", free_port())
    command = [sys.executable, "-m", "flask", "--app", "shop:app", "run", "--port", str(address.port)]
    output = tmp_path / "flask.log"
    with running(command, until=address, output=output, directory=SAMPLE_LOGS):
        for target in (b"/health", b"/nowhere?x=%22%5C%1b", b"/about", b"/api/users/j%C3%BCrgen"):
            exchange(address, b"GET " + target + b" HTTP/1.0\r\n\r\n")

    log = tmp_path / "access.log"
    log.write_bytes(b"".join(line for line in output.read_bytes().splitlines(True) if b'"' in line))
    found = report(log)
    rows = {row["rule"]: row["requests"] for row in found["rows"]}  # type: ignore[attr-defined]
    assert found["rejected"] == 0
    assert rows == {"/health": 1, "(unmatched)": 1, "(redirect)": 1, "/api/users/<username>": 1}
