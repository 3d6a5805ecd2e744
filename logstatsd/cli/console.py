"""Print to the terminal: data to stdout, messages and progress to stderr."""

from __future__ import annotations

import contextlib
import sys
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from logstatsd.errors import InputError, OptionError
from logstatsd.text import clean, clean_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

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


PROGRESS_ABOVE = 64 << 20
"""Bytes of log from which on a terminal is shown how far a run has come."""


def progress(total_bytes: int) -> AbstractContextManager[Callable[[int], None]]:
    """A bar on stderr where somebody waits for much, to be told how many bytes are done; else nothing."""
    if total_bytes < PROGRESS_ABOVE:
        return contextlib.nullcontext(lambda _: None)
    bar: AbstractContextManager[Callable[[int], None]] = _terminal().progress_bar(total_bytes)
    return bar


def account(run: Run, settler: Settler, counts: LineCounts, *, quiet: bool = False) -> None:
    """Say on stderr what was rejected, and what could not be proven; when quiet, only what was rejected."""
    for text in run.changes.summary():
        say(text, quiet=quiet)
    say_rejected(counts)
    if counts.rejected and any(log.choice.fixed for log in run.logs):
        say("without --log-format, a change of format is found, and lines of each are read")
    if not quiet:
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
        _terminal().draw(shown)
        return
    with opened(output or "-") as file:
        plain = output is not None
        click.echo(shown if isinstance(shown, str) else _terminal().as_text(shown, plain=plain), file=file)


def screen(shown: Callable[[], Any], every_s: float = 1.0) -> AbstractContextManager[Callable[[], None]]:
    """A terminal's whole screen for `shown()`, drawn anew at most that often; nothing elsewhere."""
    if not sys.stdout.isatty():
        return contextlib.nullcontext(lambda: None)
    drawn: AbstractContextManager[Callable[[], None]] = _terminal().live_screen(shown, every_s)
    return drawn


def _terminal() -> Any:
    """The module that needs rich, whose import takes as long as all of ours."""
    return import_module("logstatsd.cli.terminal")
