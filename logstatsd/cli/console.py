"""Print to the terminal: data to stdout, messages and progress to stderr."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from logstatsd.errors import InputError, OptionError
from logstatsd.text import clean, clean_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from logstatsd.model.line_counts import LineCounts
    from logstatsd.scan.run import Run
    from logstatsd.scan.settle import Settler


def say(text: str, *, quiet: bool = False) -> None:
    """Tell a person something on stderr; where that cannot be written, the work goes on untold."""
    if not quiet:
        with contextlib.suppress(OSError):
            click.echo(clean(text, 2_000), err=True)


def is_terminal() -> bool:
    return sys.stderr.isatty()


WIDEST = 10_000
WIDE = 240
"""Columns that a table may take where no terminal limits it."""

PROGRESS_ABOVE = 64 << 20
"""Bytes of log from which on a terminal is shown how far a run has come."""


@contextlib.contextmanager
def progress(total_bytes: int) -> Iterator[Callable[[int], None]]:
    if total_bytes < PROGRESS_ABOVE:
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn  # noqa: PLC0415

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total_bytes)
        yield lambda done: progress.update(task, completed=done)


def account(run: Run, settler: Settler, counts: LineCounts) -> None:
    """Say on stderr what was rejected, what was lost of damaged files, and what could not be proven."""
    for log in run.logs:
        for problem in log.source.problems:
            say(problem)
    for text in run.changes.summary():
        say(text)
    say_rejected(counts)
    say_unproven(settler)


def say_rejected(counts: LineCounts) -> None:
    """Say how many lines were rejected, why, and what the first look like."""
    if counts.rejected:
        why = ", ".join(f"{reason} {count:,}" for reason, count in sorted(counts.rejected.items()))
        say(f"{counts.rejected.total():,} of {counts.lines:,} lines rejected: {why}")
        for reason, line in counts.samples[:3]:
            say(f"  {reason}: {clean_bytes(line)}")


def say_unproven(settler: Settler) -> None:
    """Say which requests keep a rule that only the app could have proven."""
    if settler.unproven:
        rules = ", ".join(f"{rule} ({count:,})" for rule, count in sorted(settler.unproven.items())[:5])
        asked = "could not be asked" if settler.app else "were not asked, as the app is not loaded"
        say(f"{sum(settler.unproven.values()):,} requests keep a rule whose converters {asked}: {rules}")


def refuse_overwriting(output: str | None, logs: tuple[str, ...]) -> None:
    """Raise OptionError where the output is one of the logs that are read."""
    for log in map(Path, logs):
        if output and Path(output).exists() and log.exists() and log.samefile(output):
            raise OptionError(f"-o {output}: is the log itself, which would be lost; name another file")


@contextlib.contextmanager
def opened(output: str) -> Iterator[IO[str]]:
    """Open a file, or stdout for `-`, to be written at once or not at all. Raises InputError."""
    whole = output != "-" and (not Path(output).exists() or Path(output).is_file())
    try:
        with click.open_file(output, "w", encoding="utf-8", atomic=whole) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror}") from None


def show(shown: Any, output: str | None) -> None:
    """Print text or a rich renderable to stdout or to a file. Raises InputError."""
    if output is None and not isinstance(shown, str) and sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415 - heavy

        Console(highlight=False).print(shown)
        return
    with opened(output or "-") as file:
        click.echo(shown if isinstance(shown, str) else _as_text(shown, plain=output is not None), file=file)


def _as_text(shown: Any, *, plain: bool) -> str:
    from rich.console import Console  # noqa: PLC0415 - heavy

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
def screen(shown: Callable[[], Any], every_s: float = 1.0) -> Iterator[Callable[[], None]]:
    """A terminal's whole screen for `shown()`, drawn anew at most that often; nothing elsewhere."""
    if not sys.stdout.isatty():
        yield lambda: None
        return
    from rich.live import Live  # noqa: PLC0415

    drawn_s = 0.0
    with Live(screen=True, auto_refresh=False) as live:

        def refresh() -> None:
            nonlocal drawn_s
            if time.monotonic() - drawn_s >= every_s:
                live.update(shown(), refresh=True)
                drawn_s = time.monotonic()

        yield refresh
