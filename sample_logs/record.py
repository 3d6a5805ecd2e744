"""Record the sample logs: serve the shop with real gunicorn and nginx, and send it the sample traffic.

    PYTHONPATH=tests/support python sample_logs/record.py

needs nginx, and gunicorn in Python's environment, and takes about as long as SECONDS says, three times. The
requests are the same every time; times, durations and so the order of neighbours are not.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from places import SAMPLE_LOGS
from servers import COMBINED_TIMED, GUNICORN_DEFAULT, PASS_ON, Address, exchange, gunicorn, nginx
from traffic import Request, traffic

REQUESTS = 3000
SECONDS = 60
SEED = 7
JSON_LINES = 1800
"""How much of the JSON log is kept: its lines are long, and this is a repository."""

NGINX_JSON = """escape=json '{"time_iso8601":"$time_iso8601","remote_addr":"$remote_addr","host":"$host",'
    '"request_method":"$request_method","request_uri":"$request_uri",'
    '"status":$status,"body_bytes_sent":$body_bytes_sent,"request_time":$request_time,'
    '"upstream_addr":"$upstream_addr","upstream_response_time":"$upstream_response_time",'
    '"http_user_agent":"$http_user_agent"}'"""
"""What people commonly log as JSON; nginx writes a variable that has no value as an empty string here."""

IMPATIENT_PROXY = PASS_ON.replace("}", "    proxy_read_timeout 100ms;\n    }")
"""Gives up on the slowest reports, with 504."""

BEHIND_BALANCER = ("--proxy-protocol", "--proxy-allow-from", "127.0.0.1")
"""gunicorn has no realip: clients keep their addresses behind a balancer that speaks the PROXY protocol."""


def main() -> None:
    """Record all the logs anew, beside this file."""
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        record_nginx(work)
        record_gunicorn(work, "gunicorn.log", GUNICORN_DEFAULT + " %(D)s")
        record_gunicorn(work, "gunicorn_default.log", GUNICORN_DEFAULT)
        for name in ("nginx.log", "nginx.json.log", "gunicorn.log", "gunicorn_default.log"):
            lines = (work / name).read_bytes().splitlines(keepends=True)
            kept = lines[:JSON_LINES] if name == "nginx.json.log" else lines
            (SAMPLE_LOGS / name).write_bytes(b"".join(kept))
            print(f"{name}: {len(kept)} lines", file=sys.stderr)


def record_nginx(work: Path) -> None:
    """nginx before gunicorn, writing the same requests in two formats."""
    logs = {"nginx.log": COMBINED_TIMED, "nginx.json.log": NGINX_JSON}
    with (
        gunicorn("shop:app", directory=SAMPLE_LOGS, log=work / "app.log", workers=2) as app,
        nginx(app, directory=work, logs=logs, locations=IMPATIENT_PROXY) as front,
    ):
        drive(front, lambda request: request.wire(x_forwarded_for=request.client))


def record_gunicorn(work: Path, name: str, log_format: str) -> None:
    """gunicorn alone."""

    def wire(request: Request) -> bytes:
        return f"PROXY TCP4 {request.client} 192.0.2.1 40000 80\r\n".encode() + request.wire()

    with gunicorn(
        "shop:app",
        directory=SAMPLE_LOGS,
        log=work / name,
        log_format=log_format,
        worker_class="gthread",
        workers=2,
        threads=2,
        options=BEHIND_BALANCER,
    ) as app:
        drive(app, wire)


def drive(address: Address, wire: Callable[[Request], bytes], clients: int = 4) -> None:
    """Send the sample traffic, evenly over SECONDS, by a few clients at once."""
    start = time.monotonic()

    def send(number: int, request: Request) -> None:
        time.sleep(max(0.0, start + number * SECONDS / REQUESTS - time.monotonic()))
        if request.patience_s is None:
            exchange(address, wire(request))
        else:
            exchange(address, wire(request), request.patience_s)

    with ThreadPoolExecutor(clients) as pool:
        # Consuming the results raises what went wrong in a thread.
        list(pool.map(send, itertools.count(), traffic(SEED, REQUESTS)))


if __name__ == "__main__":
    main()
