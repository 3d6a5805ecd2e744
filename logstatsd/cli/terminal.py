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
_SIZES = ("COLUMNS", "LINES")


def draw(shown: Any) -> None:
    """Print a rich renderable to the terminal."""
    _console(highlight=False).print(shown)


def as_text(shown: Any, *, plain: bool) -> str:
    """A rich renderable as lines of text, without any colour if `plain`."""
    text = io.StringIO()
    console = _console(file=text, force_terminal=False if plain else None, width=_width(), highlight=False)
    console.print(shown)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _console(**options: Any) -> Console:
    """A console of a size within reason, whatever COLUMNS and LINES hold."""
    sizes = {name: str(size) for name in _SIZES if (size := _asked(name))}
    others = {name: value for name, value in os.environ.items() if name not in _SIZES}
    return Console(_environ=others | sizes, **options)


def _width() -> int:
    """The columns that COLUMNS asks for, within reason, or else WIDE."""
    return _asked("COLUMNS") or WIDE


def _asked(name: str) -> int:
    """A size that the environment asks for, at most WIDEST; 0 for none, or for what is no number."""
    text = os.environ.get(name, "")
    return min(int(text), WIDEST) if text.isascii() and text.isdecimal() and len(text) < 6 else 0


@contextlib.contextmanager
def progress_bar(total_bytes: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr; calling what it gives tells how many bytes are done."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total_bytes)
        yield lambda done: progress.update(task, completed=done)


@contextlib.contextmanager
def live_screen(shown: Callable[[], Any], every_s: float) -> Iterator[Callable[[], None]]:
    """The terminal's whole screen for `shown()`, drawn anew at most that often."""
    drawn_s = 0.0
    with Live(console=_console(), screen=True, auto_refresh=False) as live:

        def refresh() -> None:
            nonlocal drawn_s
            if time.monotonic() - drawn_s >= every_s:
                live.update(shown(), refresh=True)
                drawn_s = time.monotonic()

        yield refresh
