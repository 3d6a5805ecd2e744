"""Where the metrics of a replay go, and how they are named and written."""

from __future__ import annotations

import dataclasses
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import click

from logstatsd.cli.options import Number, Options, choice_of, option
from logstatsd.delivery.dialects import DIALECTS, TIMING_TYPES
from logstatsd.delivery.encoders import ENCODERS
from logstatsd.delivery.encoders.encoder import MAX_SERIES, Encoding
from logstatsd.delivery.environment import refuse_unusable_places
from logstatsd.delivery.naming import SCHEMES, Naming
from logstatsd.errors import OptionError

if TYPE_CHECKING:
    from logstatsd.delivery.sink import Sink
    from logstatsd.routing.router import Router


@dataclass(frozen=True, kw_only=True)
class DestinationOptions(Options):
    """The server, how it is reached and how fast."""

    heading: ClassVar[str] = "Destination"

    host: str | None = option(
        "--host", metavar="HOST", help="The StatsD server's host. Default: DD_AGENT_HOST, or localhost."
    )
    port: int | None = option(
        "--port", type=click.IntRange(1, 65_535), metavar="PORT",
        help="Its port. Default: DD_DOGSTATSD_PORT, or 8125.",
    )  # fmt: skip
    socket: str | None = option(
        "--socket", metavar="PATH",
        help="Its Unix socket; unixgram:// or unixstream:// before the path says of which kind.",
    )  # fmt: skip
    tcp: bool = option("--tcp", is_flag=True, help="Send over TCP, as plain StatsD servers take it.")
    rate: float | None = option(
        "--rate", type=Number(min=0), metavar="N",
        help="Datagrams a second over UDP; 0 for no pacing. Default: as fast as a local server takes them, "
        "2,000 to a remote one.",
    )  # fmt: skip
    timeout: float = option(
        "--timeout", type=Number(min=0), default=10.0, show_default=True, metavar="SECONDS",
        help="How long to wait for a server that is away.",
    )  # fmt: skip

    def settled(self) -> DestinationOptions:
        """The same, where the command line wins over a destination of another kind. Raises OptionError."""
        network, unix = self.on_command_line("host", "port", "tcp"), self.on_command_line("socket")
        if network and unix:
            raise OptionError(f"{network[0]} and --socket: give one of them")
        if network:
            return dataclasses.replace(self, socket=None)
        return dataclasses.replace(self, tcp=False) if self.socket else self

    def name(self) -> str:
        """What a checkpoint knows the server by; found without the datadog client, whose rules these are.

        Raises UnreachableError where the environment names no place.
        """
        refuse_unusable_places(self.host, self.port, self.socket)
        if self.socket:
            return f"unix:{self.socket}"
        url = os.environ.get("DD_DOGSTATSD_URL")
        if url and not self.host and not self.port:
            return url
        host = self.host or os.environ.get("DD_AGENT_HOST") or "localhost"
        port = self.port or os.environ.get("DD_DOGSTATSD_PORT") or 8125
        return f"{'tcp' if self.tcp else 'udp'}:{host}:{port}"

    def open(self, *, dry_run: bool) -> Sink:
        """Connect to where the metrics go; a dry run prints them. Raises UnreachableError, OptionError."""
        from logstatsd.delivery.destination import open_file_sink, open_sink  # noqa: PLC0415 - only where there is something to send

        if dry_run:
            return open_file_sink(sys.stdout.buffer)
        return open_sink(
            self.host, self.port, self.socket, tcp=self.tcp, rate=self.rate, timeout_s=self.timeout
        )


@dataclass(frozen=True, kw_only=True)
class MetricOptions(Options):
    """What metrics are called, and the form in which they are sent."""

    heading: ClassVar[str] = "Metrics"

    app_name: str | None = option(
        "--app-name", metavar="NAME", help="What metric names start with. Default: the Flask app's name."
    )
    prefix: str = option("--prefix", default="", metavar="PREFIX", help="What goes before every metric name.")
    tags: tuple[str, ...] = option(
        "--tag", multiple=True, metavar="K:V", help="A tag for every metric; repeatable."
    )
    scheme: str = choice_of(
        SCHEMES, "--scheme", default="flask", show_default=True,
        help="How metrics and tags are named: this package's way, or OpenTelemetry's.",
    )  # fmt: skip
    per_endpoint: bool = option(
        "--per-endpoint", is_flag=True, help="Also send a timing named after the endpoint."
    )
    dialect: str = choice_of(
        DIALECTS, "--dialect", default="dogstatsd", show_default=True,
        help="How the server reads tags; plain statsd has them in the name.",
    )  # fmt: skip
    type: str | None = choice_of(
        TIMING_TYPES, "--type", help="The metrics' type. Default: timing, or the scheme's."
    )
    pack: bool = option("--pack", is_flag=True, help="Several values a line (Datadog Agent 7.25 and later).")
    sample_rate: float = option(
        "--sample-rate", type=Number(min=0, max=1, min_open=True), default=1.0, show_default=True,
        metavar="SHARE", help="Send this share of the timings, marked with the rate.",
    )  # fmt: skip
    max_series: int = option(
        "--max-series", type=click.IntRange(1), default=MAX_SERIES, show_default=True, metavar="N",
        help="Series beyond so many go to one with url_rule:overflow.",
    )  # fmt: skip
    encoder: str = choice_of(
        ENCODERS, "--send", default="timings", show_default=True,
        help=f"What to send: {'; '.join(f'{name}, {entry.about}' for name, entry in ENCODERS.items())}.",
    )  # fmt: skip
    backfill: bool = option("--backfill", is_flag=True, help="The same as --send points.")

    @property
    def chosen_encoder(self) -> str:
        """The key of ENCODERS to send with."""
        return "points" if self.backfill else self.encoder

    def naming(self, router: Router) -> Naming:
        """Names and tags for the app. Raises OptionError."""
        return Naming(
            app_name=self.app_name or router.app_name,
            scheme=self.scheme,
            prefix=self.prefix,
            tags=self.tags,
            per_endpoint=self.per_endpoint,
        )

    def encoding(self, speed: float | None) -> Encoding:
        """How values are to be written."""
        return Encoding(
            dialect=self.dialect,
            wire_type=self.type,
            sample_rate=self.sample_rate,
            pack=self.pack,
            max_series=self.max_series,
            speed=speed,
        )
