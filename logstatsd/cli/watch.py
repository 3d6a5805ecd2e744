"""`report --follow`: keep the table up to date as the logs are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from logstatsd.cli import signals
from logstatsd.cli.console import say_rejected, say_unproven, screen, show
from logstatsd.cli.inputs import load_app
from logstatsd.cli.log_scanners import LogScanners
from logstatsd.cli.reading import followed
from logstatsd.cli.report import REFRESH_S, ReportOptions
from logstatsd.errors import OptionError
from logstatsd.report.render import as_table, caption
from logstatsd.tail.follow import Control, follow
from logstatsd.tail.resume import start

if TYPE_CHECKING:
    from logstatsd.cli.options import AppOptions, FormatOptions, RunOptions
    from logstatsd.report.summary import Summary
    from logstatsd.tail.plan import Portion


def watch(
    paths: tuple[str, ...],
    summary: Summary,
    *,
    asked: ReportOptions,
    app: AppOptions,
    formats: FormatOptions,
    lines: RunOptions,
) -> int:
    """Report the logs and what is added to them, until a signal ends it. Raises InputError, FormatError."""
    if lines.since or lines.until:
        raise OptionError("--follow: it reads files to their end and on; leave out --since and --until")
    logs = followed(paths)
    router, settler = load_app(app)
    scanners = LogScanners(router, formats, scanner=lines.chosen_scanner, quiet=asked.quiet)

    def count(portion: Portion) -> None:
        summary.add(settler.settle(scanners.scan(portion.log, portion.chunk.read(), portion.chunk.offset)))

    with (
        Control() as control,
        signals.stoppable(control.stop, control.reopen) as stopped,
        screen(lambda: _screenful(summary, asked.sort), REFRESH_S) as refresh,
    ):
        for portion in follow({log: start(log) for log in logs}, control, lambda _: None):
            if portion is not None and portion.chunk.data:
                count(portion)
            refresh()
    show(asked.rendered(summary), asked.output)
    if not asked.quiet:
        say_rejected(summary.counts)
        say_unproven(settler)
    return stopped.exit_code


def _screenful(summary: Summary, sort: str) -> Any:
    """The table with its caption below."""
    from rich.console import Group  # noqa: PLC0415 - heavy

    return Group(as_table(summary, sort), caption(summary))
