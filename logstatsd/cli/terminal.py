"""Draw on a terminal, or as a terminal would show it: what needs rich, imported only where it is used."""

from __future__ import annotations

import contextlib
import io
import os
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WIDE = 240
"""Columns that a table may take where no terminal limits it."""
WIDEST = 10_000


def draw(shown: Any) -> None:
    """Print a rich renderable to the terminal."""
    Console(highlight=False).print(shown)


def as_text(shown: Any, *, plain: bool) -> str:
    """A rich renderable as lines of text, without any colour if `plain`."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=False if plain else None, width=_width(), highlight=False)
    console.print(shown)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _width() -> int:
    """The columns that COLUMNS asks for, within reason, or else WIDE."""
    columns = os.environ.get("COLUMNS", "")
    asked = int(columns) if columns.isascii() and columns.isdecimal() and len(columns) < 6 else 0
    return min(asked, WIDEST) or WIDE


@contextlib.contextmanager
def progress_bar(total_bytes: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr; calling what it gives tells how many bytes are done."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total_bytes)
        yield lambda done: progress.update(task, completed=done)


@contextlib.contextmanager
def live_screen(shown: Callable[[], Any], every_s: float) -> Iterator[Callable[[], None]]:
    """The terminal's whole screen for `shown()`, drawn anew at most that often."""
    drawn_s = 0.0
    with Live(screen=True, auto_refresh=False) as live:

        def refresh() -> None:
            nonlocal drawn_s
            if time.monotonic() - drawn_s >= every_s:
                live.update(shown(), refresh=True)
                drawn_s = time.monotonic()

        yield refresh
