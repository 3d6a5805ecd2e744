"""What `listen` does: run the listener until it is told to end, or around a command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import click

from logstatsd.cli.console import say, screen, show
from logstatsd.delivery.listener import Listener, render
from logstatsd.errors import OptionError

if TYPE_CHECKING:
    from logstatsd.delivery.listener import Tally

DRAIN_S = 0.3
"""How long after a command's end a datagram may still be on its way to us."""


def hear(command: tuple[str, ...], given: dict[str, Any]) -> None:
    """Listen, then print what arrived. Raises OptionError."""
    if given["tcp"] and given["socket"]:
        raise OptionError("--tcp and --socket: give one of them")
    port = given["port"] if given["port"] is not None else 0 if command else 8125
    with Listener(given["host"], port, given["socket"], tcp=given["tcp"]) as listener:
        say(f"listening at {listener.address}; Ctrl-C ends", quiet=given["quiet"] or bool(command))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: listener.stop())
        ends = {"count": given["count"], "for_s": given["for_s"], "idle_s": given["idle_s"]}
        code = _around(command, listener, ends) if command else _alone(listener, ends)
        _print(listener.tally, given)
    if code:
        click.get_current_context().exit(code)


def _alone(listener: Listener, ends: dict[str, Any]) -> int:
    """Listen until told to end; on a terminal, the table is there from the first value on."""
    with screen(lambda: render(listener.tally, rows=shutil.get_terminal_size().lines - 2)) as refresh:
        listener.run(**ends, on_tick=lambda _: refresh())
    return 0


def _around(command: tuple[str, ...], listener: Listener, ends: dict[str, Any]) -> int:
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
    listener.run(**ends)
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


def _print(tally: Tally, given: dict[str, Any]) -> None:
    malformed = f", {tally.malformed:,} malformed lines" if tally.malformed else ""
    say(f"{tally.values:,} values in {len(tally.sums):,} series arrived{malformed}", quiet=given["quiet"])
    show(json.dumps(tally.as_json(), indent=2) if given["as_json"] else render(tally), None)
