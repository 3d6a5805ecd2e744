"""Real servers for tests: gunicorn, nginx and npm statsd, each started on a free port and stopped cleanly.

Each is a context manager that gives an address once the server takes connections, and returns once it has
ended. A log is complete when its server has ended, so read logs after the `with` block:

    with gunicorn("shop:app", directory=SAMPLE_LOGS, log=tmp_path / "gunicorn.log") as app:
        with nginx(app, directory=tmp_path, logs={"nginx.log": COMBINED_TIMED}) as front:
            exchange(front, b"GET / HTTP/1.1\\r\\nHost: shop\\r\\nConnection: close\\r\\n\\r\\n")

When anything goes wrong inside, the server's own words are added to the error.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from places import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


PATIENCE_S = 20.0
"""How long anything here may take before it counts as broken; normally it takes a fraction of a second."""


class Address(NamedTuple):
    """Host and port of a server."""

    host: str
    port: int


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def poll(what: str, reached: Callable[[], bool]) -> None:
    """Return as soon as `reached()`; for the few events that nothing announces."""
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE_S:g} s for {what}")
        time.sleep(0.005)


def exchange(address: Address, request: bytes, patience: float = PATIENCE_S) -> bytes:
    """Send exactly these bytes and return all that comes back; give up silently after `patience` seconds."""
    received = bytearray()
    with socket.create_connection(address, timeout=PATIENCE_S) as connection:
        connection.settimeout(patience)
        # A server may refuse a request before it has read all of it.
        with suppress(TimeoutError, ConnectionError):
            connection.sendall(request)
            while part := connection.recv(65536):
                received += part
    return bytes(received)


# --- processes ------------------------------------------------------------------------------------------


def takes_connections(address: Address) -> bool:
    """Tell whether somebody listens there."""
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def running(
    command: list[str],
    *,
    until: Address,
    output: Path,
    directory: Path,
    env: Mapping[str, str] | None = None,
    stop_with: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server from when it takes connections at `until`, to when it has ended by `stop_with`."""
    with output.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**os.environ, **(env or {})},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )

    def ready() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended with {process.returncode} before it was ready")
        return takes_connections(until)

    try:
        poll(f"{command[0]} to take connections", ready)
        yield process
        stop(process, stop_with)
    except BaseException as error:
        error.add_note(f"{output.name}:\n{output.read_text(errors='replace')[-4000:]}")
        raise
    finally:
        # The server's workers too, where it could not end them itself.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def stop(process: subprocess.Popen[bytes], by: signal.Signals) -> None:
    """End a server and wait for it."""
    process.send_signal(by)
    process.wait(PATIENCE_S)


# --- gunicorn -------------------------------------------------------------------------------------------

GUNICORN_DEFAULT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
"""gunicorn's own default access_log_format."""


@contextmanager
def gunicorn(
    app: str,
    *,
    directory: Path,
    log: Path,
    log_format: str = GUNICORN_DEFAULT,
    worker_class: str = "sync",
    workers: int = 1,
    threads: int = 1,
    env: Mapping[str, str] | None = None,
    options: tuple[str, ...] = (),
) -> Iterator[Address]:
    """Serve `app` (as gunicorn names it: `module:app`, `module:factory("x")`) from `directory`."""
    address = Address("127.0.0.1", free_port())
    command = [sys.executable, "-m", "gunicorn", app]
    command += ["--bind", f"{address.host}:{address.port}", "--chdir", str(directory)]
    command += ["--access-logfile", str(log), "--access-logformat", log_format]
    command += ["--worker-class", worker_class, "--workers", str(workers), "--threads", str(threads)]
    # The control socket has one path for all of a user's gunicorns.
    command += ["--no-control-socket", *options] if gunicorn_has("no_control_socket") else list(options)
    with running(command, until=address, output=log.with_suffix(".stderr"), directory=directory, env=env):
        yield address


def gunicorn_has(setting: str) -> bool:
    """Tell whether the installed gunicorn knows a setting."""
    from gunicorn.config import KNOWN_SETTINGS  # type: ignore[import-untyped]

    return any(known.name == setting for known in KNOWN_SETTINGS)


# --- nginx ----------------------------------------------------------------------------------------------

COMBINED = (
    """'$remote_addr - $remote_user [$time_local] "$request" """
    """$status $body_bytes_sent "$http_referer" "$http_user_agent"'"""
)
"""nginx's predefined format `combined`, as one would write it."""

COMBINED_TIMED = COMBINED[:-1] + " $request_time'"

PASS_ON = """
    location / {
        proxy_pass http://app;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
    }
"""
"""The usual location: hand every request to the app, target untouched."""

NGINX_CONF = """
daemon off;
{user}
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    # Clients say who they are, as behind a load balancer.
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Forwarded-For;
    {formats}
    upstream app {{ server {upstream.host}:{upstream.port} max_fails=0; }}
    server {{
        listen {address.host}:{address.port};
        {locations}
    }}
}}
"""


@contextmanager
def nginx(
    upstream: Address, *, directory: Path, logs: Mapping[str, str], locations: str = PASS_ON
) -> Iterator[Address]:
    """Put nginx before `upstream`, which `locations` call `http://app`.

    `logs` maps a file name in `directory` to what follows the name in a `log_format` directive.
    """
    address = Address("127.0.0.1", free_port())
    formats = "".join(
        f"log_format format_{number} {body};\n    access_log {directory / name} format_{number};\n    "
        for number, (name, body) in enumerate(logs.items())
    )
    conf = directory / "nginx.conf"
    conf.write_text(
        NGINX_CONF.format(
            # A worker that nginx, started as root, gives to nobody could not write here.
            user="user root;" if os.geteuid() == 0 else "",
            directory=directory,
            formats=formats,
            upstream=upstream,
            address=address,
            locations=locations,
        )
    )
    command = [path_of("nginx") or "nginx", "-p", str(directory), "-c", str(conf), "-e", "stderr"]
    output = directory / "nginx.stderr"
    with running(command, until=address, output=output, directory=directory, stop_with=signal.SIGQUIT):
        yield address


# --- npm statsd -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Flush:
    """Values that npm statsd had when it ended: timings by key, how many it was told of, refused lines."""

    timers: dict[str, list[float]]
    counts: dict[str, float]
    bad_lines: int


class NpmStatsd:
    """A running npm statsd; `finish()` ends it and gives what it received."""

    def __init__(
        self, process: subprocess.Popen[bytes], address: Address, manage: Address, record: Path
    ) -> None:
        self.address = address
        self._process = process
        self._manage = manage
        self._record = record

    def metrics_received(self) -> int:
        """Ask how many metric lines it has read so far."""
        for line in self._ask("counters").splitlines():
            name, _, count = line.partition(":")
            if name.strip(" '{") == "statsd.metrics_received":
                return int(count.strip(" ,}"))
        return 0

    def finish(self, expect: int = 0) -> Flush:
        """Wait until it has read `expect` metric lines and all that is on its way, then end it.

        On the way means UDP: datagrams of the loopback interface stay in order, so once a marker that is sent
        now has been read, all that was sent earlier has been read too.
        """
        if expect:
            poll(f"{expect} metrics at statsd", lambda: self.metrics_received() >= expect)
        else:
            self._pass_marker()
        stop(self._process, signal.SIGTERM)
        seen = json.loads(self._record.read_text())
        return Flush(seen["timers"], seen["timer_counters"], seen["counters"]["statsd.bad_lines_seen"])

    def _pass_marker(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

            def seen() -> bool:
                sender.sendto(b"logstatsd_marker:1|g", self.address)
                return "logstatsd_marker" in self._ask("gauges")

            poll("statsd to read a marker", seen)

    def _ask(self, command: str) -> str:
        answer = b""
        with socket.create_connection(self._manage, timeout=PATIENCE_S) as connection:
            connection.sendall(command.encode() + b"\n")
            while not answer.endswith(b"END\n\n"):
                part = connection.recv(65536)
                if not part:
                    raise ConnectionError("statsd closed its management port")
                answer += part
        return answer.decode()


@contextmanager
def statsd(*, directory: Path, transport: str = "udp") -> Iterator[NpmStatsd]:
    """Run npm statsd 0.9, over `udp` or `tcp`; it flushes once, when it ends, to our recording backend."""
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    address, manage = Address("127.0.0.1", free_port(kind)), Address("127.0.0.1", free_port())
    record = directory / "statsd.json"
    listen = {"server": f"./servers/{transport}", "address": address.host, "port": address.port}
    config = directory / "statsd.conf.json"
    config.write_text(
        json.dumps(
            {
                "servers": [listen],
                "mgmt_address": manage.host,
                "mgmt_port": manage.port,
                "backends": [str(Path(__file__).with_name("statsd_backend.js"))],
                "record": str(record),
                "flushInterval": 3_600_000,
            }
        )
    )
    command = [path_of("node") or "node", path_of("statsd") or "statsd", str(config)]
    output = directory / "statsd.stderr"
    with running(command, until=manage, output=output, directory=directory) as process:
        yield NpmStatsd(process, address, manage, record)


# --- finding programs -----------------------------------------------------------------------------------


def path_of(program: str) -> str | None:
    """Find a program on this machine; `statsd` is npm's, in `$LOGSTATSD_TEST_NODE_MODULES` or here."""
    if program == "statsd":
        modules = Path(os.environ.get("LOGSTATSD_TEST_NODE_MODULES", ROOT / "node_modules"))
        stats_js = modules / "statsd" / "stats.js"
        return str(stats_js) if stats_js.exists() else None
    # Debian keeps servers where only root's PATH looks.
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
