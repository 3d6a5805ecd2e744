"""`report`: print a table of requests, errors and percentiles per rule, once or kept up to date."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logstatsd.cli.console import account, refuse_overwriting, say, show
from logstatsd.cli.inputs import load_app, open_run, refuse_misfits, tallies, tell_losses
from logstatsd.cli.labelling import Outcomes
from logstatsd.cli.options import (
    AppOptions,
    FormatOptions,
    Options,
    RunOptions,
    choice_of,
    command,
    logs_argument,
    one_of_flags,
    option,
    quiet,
    takes,
)
from logstatsd.formats.duration_advice import duration_advice
from logstatsd.model.filters import Excluded
from logstatsd.report.render import RENDERERS, SORTS, caption
from logstatsd.report.summary import DIMENSIONS, Summary

if TYPE_CHECKING:
    from logstatsd.scan.run import Run

REFRESH_S = 1.0
DEFAULT_RENDERER = "table"
"""The renderer that is used where no other is asked for."""


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Options):
    """What a report shows, and how."""

    by: tuple[str, ...] = choice_of(
        DIMENSIONS, "--by", multiple=True, help="Group by these; repeatable. Default: rule and method."
    )
    sort: str = choice_of(
        SORTS, "--sort", default="total", show_default=True, metavar="COLUMN",
        help=f"The column to sort by: {', '.join(SORTS)}.",
    )  # fmt: skip
    renderer: str | None = one_of_flags(
        **{name: renderer.about for name, renderer in RENDERERS.items() if name != DEFAULT_RENDERER}
    )
    output: str | None = option(
        "-o",
        "--output",
        metavar="FILE",
        help="Write the report to FILE instead of stdout; its suffix tells the format.",
    )
    follow: bool = option(
        "-f", "--follow", is_flag=True, help="Keep the table up to date as the log is written, like top."
    )
    quiet: bool = quiet()

    def summary(self, excluded: tuple[str, ...]) -> Summary:
        """An empty summary of what is asked for."""
        return Summary(tuple(dict.fromkeys(self.by)) or ("rule", "method"), Excluded(excluded))

    def rendered(self, summary: Summary) -> Any:
        """The report, as text or a rich renderable."""
        return RENDERERS[self.chosen_renderer].render(summary, self.sort)

    @property
    def chosen_renderer(self) -> str:
        """The renderer asked for, by a flag or by the suffix of the output."""
        suffix = Path(self.output).suffix.lower() if self.output else ""
        told = (name for name, renderer in RENDERERS.items() if suffix in renderer.suffixes)
        return self.renderer or next(told, DEFAULT_RENDERER)


@command()
@logs_argument
@takes(asked=ReportOptions, app=AppOptions, formats=FormatOptions, lines=RunOptions)
def report(
    logs: tuple[str, ...], asked: ReportOptions, app: AppOptions, formats: FormatOptions, lines: RunOptions
) -> int:
    """Print, per rule and method, the requests, errors and percentiles of access logs.

    \b
    logstatsd report access.log --app myapp:app
    logstatsd report access.log* --app myapp:app --by endpoint --sort p95
    zcat old.gz | logstatsd report - --routes routes.json --json | jq .rows
    """
    summary = asked.summary(lines.exclude)
    refuse_overwriting(asked.output, logs)
    if asked.follow:
        from logstatsd.cli.watch import watch  # noqa: PLC0415 - most reports are made once

        return watch(logs, summary, asked=asked, app=app, formats=formats, lines=lines)
    router, settler = load_app(app)
    run = open_run(logs, router, formats, lines, quiet=asked.quiet)
    outcomes = Outcomes()
    for piece in tallies(run, settler, quiet=asked.quiet):
        outcomes.add(piece.batch)
        summary.add(piece.batch)
    summary.skipped_bytes = run.skipped_bytes
    failed = tell_losses(run, summary.counts)
    refuse_misfits(run, summary.counts)
    show(asked.rendered(summary), asked.output)
    if not asked.quiet:
        account(run, settler, summary.counts)
        outcomes.tell(router, app, run)
        if asked.chosen_renderer == DEFAULT_RENDERER:
            say(_caption(run, summary))
    lines.limit().check(summary.counts, ", ".join(logs))
    return failed


def _caption(run: Run, summary: Summary) -> str:
    formats = run.changes.formats
    if not formats:
        return caption(summary)
    sources = sorted({log_format.duration_source for log_format in formats} - {""})
    if not sources:
        return f"{caption(summary)}; the log has no durations: {duration_advice(formats[0])}"
    untimed = summary.counts.parsed - summary.counts.excluded - summary.timed
    partly = f", which {untimed:,} requests lack" if untimed else ""
    return f"{caption(summary)}; durations from {' and '.join(sources)}{partly}"
