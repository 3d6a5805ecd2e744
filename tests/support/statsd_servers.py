"""Real StatsD servers beside npm's: collectd and Prometheus' statsd_exporter, and how many values each has.

Each is a context manager that gives a running server; `received(expect)` waits until it has so many values,
and returns how many it has of each series.
"""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from servers import PATIENCE_S, Address, free_port, path_of, poll, stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COLLECTD_CONF = """
Hostname "test"
FQDNLookup false
BaseDir "{directory}"
PIDFile "{directory}/collectd.pid"
Interval 0.5
LoadPlugin statsd
LoadPlugin csv
<Plugin statsd>
  Host "{address.host}"
  Port "{address.port}"
  TimerCount true
  TimerSum true
  DeleteTimers true
</Plugin>
<Plugin csv>
  DataDir "{directory}/csv"
  StoreRates false
</Plugin>
"""


class Collectd:
    """A running collectd; it writes the count and sum of each timer every half second."""

    def __init__(self, address: Address, data: Path) -> None:
        self.address = address
        self._data = data

    def counts(self) -> dict[str, int]:
        """Values by the name on the wire."""
        return {name: round(total) for name, total in self._totals("count").items()}

    def sums(self) -> dict[str, float]:
        """Sums of values, in milliseconds, by the name on the wire."""
        return self._totals("sum")

    def received(self, expect: int) -> dict[str, int]:
        """Wait for so many values."""
        poll(f"{expect} values at collectd", lambda: sum(self.counts().values()) >= expect)
        return self.counts()

    def _totals(self, what: str) -> dict[str, float]:
        totals: dict[str, float] = {}
        for path in self._data.glob(f"test/statsd/gauge-*-{what}-*"):
            name = path.name.removeprefix("gauge-").rpartition(f"-{what}-")[0]
            rows = [line.partition(",")[2] for line in path.read_text().splitlines()[1:]]
            values = [float(value) for value in rows if value and value != "nan"]
            totals[name] = totals.get(name, 0) + sum(values)
        return totals


@contextmanager
def collectd(directory: Path) -> Iterator[Collectd]:
    """Run collectd in the foreground."""
    address = Address("127.0.0.1", free_port(socket.SOCK_DGRAM))
    config = directory / "collectd.conf"
    config.write_text(COLLECTD_CONF.format(directory=directory, address=address))
    command = [path_of("collectd") or "collectd", "-f", "-C", str(config)]
    with running(command, directory / "collectd.out", until=lambda: bound(address.port)):
        yield Collectd(address, directory / "csv")


class StatsdExporter:
    """A running statsd_exporter, over UDP, TCP and a Unix datagram socket."""

    def __init__(self, address: Address, tcp: Address, socket_path: str, web: Address) -> None:
        self.address = address
        self.tcp = tcp
        self.socket_path = socket_path
        self._web = web

    def metrics(self, suffix: str) -> dict[str, float]:
        """The series of /metrics whose name ends so, our own timings only."""
        url = f"http://{self._web.host}:{self._web.port}/metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            text = answer.read().decode()
        found = re.findall(
            rf"^(shop_api_request_{suffix}\S*|shop_\S+_{suffix}\S*) (\S+)$", text, re.MULTILINE
        )
        return {name: float(value) for name, value in found}

    def received(self, expect: int) -> dict[str, int]:
        """Wait for so many values."""
        poll(f"{expect} values at statsd_exporter", lambda: sum(self.metrics("count").values()) >= expect)
        return {name: int(value) for name, value in self.metrics("count").items()}


@contextmanager
def statsd_exporter(directory: Path) -> Iterator[StatsdExporter]:
    """Run statsd_exporter."""
    udp, tcp, web = (
        Address("127.0.0.1", free_port(kind)) for kind in (socket.SOCK_DGRAM, *[socket.SOCK_STREAM] * 2)
    )
    unix = str(directory / "exporter.sock")
    command = [
        path_of("statsd_exporter") or "statsd_exporter",
        f"--statsd.listen-udp={udp.host}:{udp.port}",
        f"--statsd.listen-tcp={tcp.host}:{tcp.port}",
        f"--statsd.listen-unixgram={unix}",
        f"--web.listen-address={web.host}:{web.port}",
    ]
    server = StatsdExporter(udp, tcp, unix, web)

    def ready() -> bool:
        with suppress(OSError):
            server.metrics("count")
            return bound(udp.port)
        return False

    with running(command, directory / "exporter.out", until=ready):
        yield server


@contextmanager
def running(command: list[str], output: Path, *, until: Callable[[], bool]) -> Iterator[None]:
    """Run a server from when it is ready to when it has ended; its own words go with any error."""
    with output.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
    try:
        poll(f"{command[0]} to be ready", lambda: process.poll() is not None or until())
        yield
        stop(process, signal.SIGTERM)
    except BaseException as error:
        error.add_note(f"{output.name}:\n{output.read_text(errors='replace')[-4000:]}")
        raise
    finally:
        process.kill()
        process.wait()


def bound(port: int) -> bool:
    """Tell whether a UDP socket is bound to the port."""
    tables = (Path("/proc/net/udp").read_text(), Path("/proc/net/udp6").read_text())
    return any(f":{port:04X} 0" in table for table in tables)
