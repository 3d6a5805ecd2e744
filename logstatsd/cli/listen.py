"""`listen`: receive StatsD traffic, alone or around a command, and print what arrived."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from logstatsd.cli import signals
from logstatsd.cli.console import say, screen, show
from logstatsd.cli.options import ABOVE_ZERO, Options, command, option, quiet, takes
from logstatsd.delivery.listener import Listener
from logstatsd.errors import OptionError
from logstatsd.text import clean

if TYPE_CHECKING:
    from rich.table import Table

    from logstatsd.delivery.tally import Tally

DRAIN_S = 0.3
"""How long after a command's end a datagram may still be on its way to us."""
SHOWN_CHARS = 200
"""How much of a name or of tags is shown."""


@dataclass(frozen=True, kw_only=True)
class ListenOptions(Options):
    """Where to listen, and for how long."""

    host: str = option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
    port: int | None = option(
        "--port", type=click.IntRange(0, 65_535), help="The port; 0 for any free one. Default: 8125."
    )
    socket: str | None = option(
        "--socket", metavar="PATH", help="Listen at a Unix socket; unixstream:// before it for a stream."
    )
    tcp: bool = option("--tcp", is_flag=True, help="Listen for plain StatsD over TCP.")
    count: int | None = option(
        "--count", type=click.IntRange(1), metavar="N", help="End after so many values."
    )
    for_s: float | None = option("--for", type=ABOVE_ZERO, metavar="SECONDS", help="End after so long.")
    idle_s: float | None = option(
        "--idle", type=ABOVE_ZERO, metavar="SECONDS", help="End when nothing has come for so long."
    )
    as_json: bool = option("--json", is_flag=True, help="One JSON object at the end.")
    quiet: bool = quiet()


@command(context_settings={"allow_interspersed_args": False})
@click.argument("command", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@takes(asked=ListenOptions)
def listen(command: tuple[str, ...], asked: ListenOptions) -> int:
    """Listen as a StatsD server does and, at the end, print what arrived, summed by name and tags.

    \b
    logstatsd listen
    logstatsd listen -- logstatsd replay access.log --app myapp:app

    With a COMMAND, it runs that with DD_AGENT_HOST and DD_DOGSTATSD_PORT set to where it listens, and ends
    when the command does, with its exit code.
    """
    if asked.tcp and asked.socket:
        raise OptionError("--tcp and --socket: give one of them")
    port = asked.port if asked.port is not None else 0 if command else 8125
    with (
        Listener(asked.host, port, asked.socket, tcp=asked.tcp) as listener,
        signals.stoppable(listener.stop),
    ):
        say(f"listening at {listener.address}; Ctrl-C ends", quiet=asked.quiet or bool(command))
        code = _around(command, listener, asked) if command else _alone(listener, asked)
        _print(listener.tally, asked)
    return code


def _alone(listener: Listener, asked: ListenOptions) -> int:
    """Listen until told to end; on a terminal, the table is there from the first value on."""
    with screen(lambda: render(listener.tally, rows=shutil.get_terminal_size().lines - 2)) as refresh:
        _run(listener, asked, on_tick=lambda _: refresh())
    return 0


def _run(listener: Listener, asked: ListenOptions, **settings: Any) -> None:
    listener.run(count=asked.count, for_s=asked.for_s, idle_s=asked.idle_s, **settings)


def _around(command: tuple[str, ...], listener: Listener, asked: ListenOptions) -> int:
    """Run a command that sends to the listener, until one of the two ends.

    Returns the command's exit code, as a shell has it; 0 where the listener ended it.
    """
    try:
        process = subprocess.Popen(command, env=_environment(listener))
    except OSError as error:
        raise OptionError(f"{command[0]}: cannot be run: {error.strerror}") from None

    def wait() -> None:
        process.wait()
        threading.Timer(DRAIN_S, listener.stop).start()

    threading.Thread(target=wait, daemon=True).start()
    _run(listener, asked)
    code = process.poll()
    if code is None:
        process.terminate()
        process.wait()
        return 0
    return code if code >= 0 else 128 - code


def _environment(listener: Listener) -> dict[str, str]:
    """Our environment, but that it leads a datadog client to the listener."""
    environment = {name: value for name, value in os.environ.items() if name != "DD_DOGSTATSD_URL"}
    scheme, _, place = listener.address.partition("://")
    # A URL that is set already would win over the other two; of TCP, which clients know no URL for, it goes.
    url = {} if scheme == "tcp" else {"DD_DOGSTATSD_URL": listener.address}
    if scheme.startswith("unix"):
        return environment | url
    host, _, port = place.rpartition(":")
    return environment | url | {"DD_AGENT_HOST": host.strip("[]"), "DD_DOGSTATSD_PORT": port}


def _print(tally: Tally, asked: ListenOptions) -> None:
    malformed = f", {tally.malformed:,} malformed lines" if tally.malformed else ""
    refused = f", {tally.refused:,} connections refused: too many" if tally.refused else ""
    said = f"{tally.values:,} values in {len(tally.sums):,} series arrived{malformed}{refused}"
    say(said, quiet=asked.quiet and not malformed and not refused)
    show(json.dumps(tally.as_json(), indent=2) if asked.as_json else render(tally), None)


def render(tally: Tally, rows: int | None = None) -> Table:
    """Draw the tally as a table for a terminal, busiest series first; at most `rows` of them."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table("metric", "tags", "type", box=None, pad_edge=False, header_style="bold")
    for heading in ("values", "mean", "min", "max"):
        table.add_column(heading, justify="right", no_wrap=True)
    busiest = sorted(tally.sums.items(), key=lambda item: (-item[1].count, item[0]))
    for (name, letters, tags), seen in busiest[:rows]:
        numbers = (seen.total / seen.count, seen.minimum, seen.maximum)
        # Text, since a str would be read as rich's markup.
        labels = [
            Text(clean(label, SHOWN_CHARS), overflow="fold") for label in (name, " ".join(tags), letters)
        ]
        table.add_row(*labels, f"{seen.count:,}", *(f"{number:,.6g}" for number in numbers))
    if rows is not None and len(busiest) > rows:
        table.add_row(Text(f"and {len(busiest) - rows:,} more series"))
    return table
