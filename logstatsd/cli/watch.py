"""What `report --follow` does: the table, kept up to date as the log is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.console import Group

from logstatsd.cli.console import say_rejected, say_unproven, screen, show
from logstatsd.cli.inputs import followed, format_of, load_app
from logstatsd.errors import OptionError
from logstatsd.report.render import RENDERERS, as_table, caption
from logstatsd.scan.scanner import Scanner
from logstatsd.tail.follow import Control, follow
from logstatsd.tail.resume import start

if TYPE_CHECKING:
    from logstatsd.report.summary import Summary
    from logstatsd.tail.plan import Portion

REFRESH_S = 1.0


def watch(paths: tuple[str, ...], summary: Summary, sort: str, renderer: str, given: dict[str, Any]) -> None:
    """Report the logs and what is added to them, until a signal ends it. Raises InputError, FormatError."""
    if given["since"] or given["until"]:
        raise OptionError("--follow: it reads files to their end and on; leave out --since and --until")
    logs = followed(paths)
    router, settler = load_app(given)
    scanners: dict[str, Scanner] = {}

    def count(portion: Portion) -> None:
        if portion.log not in scanners:
            log_format = format_of(portion.log, portion.chunk.read(), given)
            scanners[portion.log] = Scanner(log_format, router)
        summary.add(settler.settle(scanners[portion.log].scan(portion.chunk.read())))

    def shown() -> Group:
        return Group(as_table(summary, sort), caption(summary))

    with Control() as control, screen(shown, REFRESH_S) as refresh:
        for portion in follow({log: start(log) for log in logs}, control, lambda _: None):
            if portion is not None and portion.chunk.data:
                count(portion)
            refresh()
    show(RENDERERS[renderer](summary, sort), given["output"])
    if not given["quiet"]:
        say_rejected(summary.rejections, summary.span.samples, summary.lines)
        say_unproven(settler)
    if control.signal:
        click.get_current_context().exit(128 + control.signal)
