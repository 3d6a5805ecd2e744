"""What `report --follow` does: the table, kept up to date as the log is written."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from logstatsd.errors import OptionError
from logstatsd.follow import Control, follow
from logstatsd.report import RENDERERS, as_table, caption
from logstatsd.rotation import start
from logstatsd.scan import Scanner
from logstatsd.session import format_of, load_app, say_rejected, say_unproven, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from logstatsd.portions import Portion
    from logstatsd.summary import Summary

REFRESH_S = 1.0


def watch(paths: tuple[str, ...], summary: Summary, sort: str, renderer: str, given: dict[str, Any]) -> None:
    """Report the logs and what is added to them, until a signal ends it. Raises InputError, FormatError."""
    if given["since"] or given["until"] or "-" in paths:
        raise OptionError("--follow: it reads files to their end and on; leave out --since, --until and -")
    router, settler = load_app(given)
    scanners: dict[str, Scanner] = {}

    def count(portion: Portion) -> None:
        if portion.log not in scanners:
            log_format = format_of(portion.log, portion.chunk.read(), given)
            scanners[portion.log] = Scanner(log_format, router)
        summary.add(settler.settle(scanners[portion.log].scan(portion.chunk.read())))

    with Control() as control, _screen(summary, sort) as refresh:
        for portion in follow({log: start(log) for log in paths}, control, lambda _: None):
            if portion is not None and portion.chunk.data:
                count(portion)
            refresh()
    show(RENDERERS[renderer](summary, sort), given["output"])
    if not given["quiet"]:
        say_rejected(summary.rejections, summary.span.samples, summary.lines)
        say_unproven(settler)
    if control.signal:
        click.get_current_context().exit(128 + control.signal)


@contextlib.contextmanager
def _screen(summary: Summary, sort: str) -> Iterator[Callable[[], None]]:
    """A full-screen table on a terminal, drawn anew at most every REFRESH_S; nothing elsewhere."""
    if not sys.stdout.isatty():
        yield lambda: None
        return
    from rich.console import Group  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415

    drawn_s = 0.0
    with Live(screen=True, auto_refresh=False) as live:

        def refresh() -> None:
            nonlocal drawn_s
            if time.monotonic() - drawn_s >= REFRESH_S:
                live.update(Group(as_table(summary, sort), caption(summary)), refresh=True)
                drawn_s = time.monotonic()

        yield refresh
