"""Lines as they come from a server: over the wire to syslog, and from Werkzeug's development server."""

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

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

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
    found = json.loads(invoke("report", log, "--app", SHOP, "--json", "-q").stdout)
    rows = {row["rule"]: row["requests"] for row in found["rows"]}
    assert found["rejected"] == 0
    assert rows == {"/health": 1, "(unmatched)": 1, "(redirect)": 1, "/api/users/<username>": 1}
