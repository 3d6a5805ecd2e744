"""Tell how a run that goes on is doing: on stderr, to systemd, and as metrics about itself."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.cli.console import say
from logstatsd.text import clean_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from logstatsd.delivery.encoders.encoder import Totals
    from logstatsd.model.line_counts import LineCounts

EVERY_S = 60.0
"""How often a heartbeat is told, and rejections at most."""
REJECTIONS_AFTER_S = 2.0
"""How soon new rejections are told, where none were in the last minute."""


class Pulse(NamedTuple):
    """How far a run has come: its lines so far, what became of their timings, and how far it is behind."""

    lines: LineCounts
    totals: Totals
    lag_s: float | None = None
    """How old the newest request was when its timing was sent."""

    def __str__(self) -> str:
        rejected = self.lines.rejected.total()
        behind = "" if self.lag_s is None else f", {max(self.lag_s, 0):.1f} s behind"
        lost = f", {self.totals.dropped:,} lost" if self.totals.dropped else ""
        return f"{self.lines.lines:,} lines, {rejected:,} rejected, {self.totals.sent:,} sent{lost}{behind}"


class Heartbeat:
    """Tells once a minute how a run is doing, and sooner where lines are newly rejected, even when quiet.

    Under systemd it says READY=1 at the first beat, STATUS= with every heartbeat, and WATCHDOG=1 twice as
    often as the watchdog asks for. `send_metrics` is called with each minute's pulse.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        send_metrics: Callable[[Pulse], None] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quiet, self._send_metrics, self._now = quiet, send_metrics, now
        self._told_s = now()
        self._rejected = self._lines = 0
        self._rejected_since_s: float | None = None
        self._rejections_told_s = float("-inf")
        self._systemd = Systemd(now=now)

    def beat(self, pulse: Pulse) -> None:
        """Tell what is due by now; called after every look at the logs."""
        now = self._now()
        self._systemd.ready()
        self._systemd.keep_alive()
        self._tell_rejections(pulse.lines, now)
        if now - self._told_s < EVERY_S:
            return
        self._told_s = now
        say(str(pulse), quiet=self._quiet)
        self._systemd.status(str(pulse))
        if self._send_metrics:
            self._send_metrics(pulse)

    def _tell_rejections(self, lines: LineCounts, now: float) -> None:
        rejected = lines.rejected.total()
        if rejected == self._rejected:
            self._rejected_since_s, self._lines = None, lines.lines
            return
        self._rejected_since_s = now if self._rejected_since_s is None else self._rejected_since_s
        if now - self._rejected_since_s < REJECTIONS_AFTER_S or now - self._rejections_told_s < EVERY_S:
            return
        new, read = rejected - self._rejected, lines.lines - self._lines
        why = ", ".join(f"{reason} {count:,}" for reason, count in sorted(lines.rejected.items()))
        say(f"{new:,} of the last {read:,} lines rejected ({why} so far)")
        for reason, line in lines.samples[-1:]:
            say(f"  {reason}: {clean_bytes(line)}")
        self._rejected, self._lines = rejected, lines.lines
        self._rejections_told_s, self._rejected_since_s = now, None


class Systemd:
    """Notifies systemd where it asks for that; see sd_notify(3)."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._now = now
        watched = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = os.environ.get("WATCHDOG_USEC", "")
        self._watchdog_s = int(usec) / 2_000_000 if usec.isdecimal() and watched else 0.0
        self._kept_alive_s = float("-inf")
        self._is_ready = False

    def ready(self) -> None:
        """Say, once, that the run has started."""
        if not self._is_ready:
            self._is_ready = True
            self._notify("READY=1")

    def status(self, text: str) -> None:
        """Give the line that `systemctl status` shows."""
        self._notify(f"STATUS={' '.join(text.split())}")

    def keep_alive(self) -> None:
        """Feed the watchdog, where there is one and it is time."""
        if self._watchdog_s and self._now() - self._kept_alive_s >= self._watchdog_s:
            self._kept_alive_s = self._now()
            self._notify("WATCHDOG=1")

    def _notify(self, text: str) -> None:
        if not self._address.startswith(("/", "@")):
            return
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier,
        ):
            notifier.sendto(text.encode(), address)
