"""The command line: commands, options, exit codes; wiring only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from logstatsd import __version__
from logstatsd.cli.console import account, advice, say, show
from logstatsd.cli.inputs import load_app, nothing_fits, open_run, tallies
from logstatsd.cli.options import (
    ABOVE_ZERO,
    Group,
    app_options,
    destination_options,
    format_options,
    logs_argument,
    metric_options,
    on_command_line,
    option,
    quiet_option,
    resume_options,
    run_options,
    settle_destination,
)
from logstatsd.errors import OptionError

if TYPE_CHECKING:
    from logstatsd.report.summary import Summary
    from logstatsd.scan.run import Run

BY = ("rule", "endpoint", "method", "status")
SORTS = ("total", "requests", "share", "errors", "4xx", "5xx", "mean", "p50", "p95", "p99", "max", "cpu", *BY)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, "--version", "-V", prog_name="logstatsd")
def cli() -> None:
    """Per-route latency metrics for Flask apps, from the access logs they already write.

    \b
    logstatsd report access.log --app myapp:app
    logstatsd replay access.log --app myapp:app
    logstatsd check  access.log --app myapp:app
    """


flask_command = cli


@cli.command(short_help="A table per rule: requests, errors, percentiles.")
@logs_argument
@app_options
@format_options
@run_options
@option(
    "--by", multiple=True, type=click.Choice(BY), help="Group by these; repeatable. Default: rule and method."
)
@option(
    "--sort",
    type=click.Choice(SORTS),
    default="total",
    show_default=True,
    metavar="COLUMN",
    help=f"The column to sort by: {', '.join(SORTS)}.",
)
@option("--json", "renderer", flag_value="json", help="One JSON object, with stable names.")
@option("--csv", "renderer", flag_value="csv", help="Comma-separated values.")
@option("--markdown", "renderer", flag_value="markdown", help="A Markdown table.")
@option("-o", "--output", metavar="FILE", help="Write the report to FILE instead of stdout.")
@option("-f", "--follow", is_flag=True, help="Keep the table up to date as the log is written, like top.")
@quiet_option
def report(
    logs: tuple[str, ...],
    by: tuple[str, ...],
    sort: str,
    renderer: str | None,
    **given: Any,
) -> None:
    """Print, per rule and method, the requests, errors and percentiles of access logs.

    \b
    logstatsd report access.log --app myapp:app
    logstatsd report access.log* --app myapp:app --by endpoint --sort p95
    zcat old.gz | logstatsd report - --routes routes.json --json | jq .rows
    """
    from logstatsd.model.filters import Excluded  # noqa: PLC0415
    from logstatsd.report.render import RENDERERS  # noqa: PLC0415
    from logstatsd.report.summary import Summary  # noqa: PLC0415

    summary = Summary(tuple(dict.fromkeys(by)) or ("rule", "method"), Excluded(given["exclude"]))
    if given["follow"]:
        from logstatsd.cli.watch import watch  # noqa: PLC0415

        watch(logs, summary, sort, renderer or "table", given)
        return
    router, settler = load_app(given)
    run = open_run(logs, router, given)
    for piece in tallies(run, settler, quiet=given["quiet"]):
        summary.add(piece.batch)
    summary.skipped_bytes = run.skipped_bytes
    nothing_fits(run, summary.lines, summary.parsed, summary.outside, summary.span.samples)
    show(RENDERERS[renderer or "table"](summary, sort), given["output"])
    if not given["quiet"]:
        account(run, settler, summary.rejections, summary.span.samples, summary.lines)
        if not renderer:
            say(_caption(run, summary))


def _caption(run: Run, summary: Summary) -> str:
    from logstatsd.report.render import caption  # noqa: PLC0415

    if not run.formats:
        return caption(summary)
    sources = sorted({log_format.duration_source for log_format in run.formats} - {""})
    if not sources:
        return f"{caption(summary)}; the log has no durations: {advice(run.formats[0])}"
    return f"{caption(summary)}; durations from {' and '.join(sources)}"


@cli.command(short_help="Send the timings to a StatsD server.")
@logs_argument
@app_options
@format_options
@run_options
@destination_options
@metric_options
@option("-n", "--dry-run", is_flag=True, help="Print what would be sent, and send nothing.")
@option("--backfill", is_flag=True, help="Send ten-second points with the log's own times, not timings.")
@option("--speed", type=ABOVE_ZERO, metavar="X", help="Keep the log's own pace, X times as fast.")
@resume_options
@option("--json", "as_json", is_flag=True, help="End with one JSON object about what was sent.")
@quiet_option
def replay(logs: tuple[str, ...], **given: Any) -> None:
    """Send every timing of access logs as a tagged StatsD timing metric.

    \b
    logstatsd replay access.log --app myapp:app
    logstatsd replay access.log --routes routes.json --host 10.0.0.5 --tag env:prod
    logstatsd replay access.log --app myapp:app --dry-run | head
    logstatsd replay access.log --routes routes.json --resume -q
    logstatsd replay access.log --routes routes.json --follow
    """
    settle_destination(given)
    if given["resume"] or given["checkpoint"] or given["follow"]:
        from logstatsd.cli.resume import replay_on  # noqa: PLC0415

        replay_on(logs, given)
    elif idle := on_command_line("state_dir", "from_", "until_eof", "wait"):
        raise OptionError(f"{idle[0]}: only with --resume, --checkpoint or --follow")
    else:
        from logstatsd.cli.replay import replay_once  # noqa: PLC0415

        replay_once(logs, given)


@cli.command(short_help="The app's rules; with logs, which of them are used.")
@click.argument("logs", metavar="[LOG...]", nargs=-1)
@app_options
@format_options
@run_options
@option("--unused", is_flag=True, help="Only rules that the logs never hit.")
@option("--json", "as_json", is_flag=True, help="One JSON object.")
@option("-o", "--output", metavar="FILE", help="Without logs: write a snapshot of the routes to FILE.")
@quiet_option
def routes(logs: tuple[str, ...], **given: Any) -> None:
    """Show the app's URL map, save a snapshot of it, or count which rules a log hits.

    \b
    logstatsd routes --app myapp:app
    logstatsd routes --app myapp:app -o routes.json
    logstatsd routes --app myapp:app access.log --unused
    """
    from logstatsd.cli.routes import list_routes, write_snapshot  # noqa: PLC0415

    if given["unused"] and not logs:
        raise OptionError("--unused: give the logs in which to look for the rules")
    if given["output"] and not logs and not given["as_json"]:
        write_snapshot(given, given["output"])
    else:
        list_routes(logs, given)


@cli.command(short_help="One JSON object a log line, with its rule.")
@logs_argument
@app_options
@format_options
@run_options
@option("--target", is_flag=True, help="Add the logged target.")
@quiet_option
def normalize(logs: tuple[str, ...], **given: Any) -> None:
    """Print a JSON object for every line of a log, in order: time, method, rule, status, duration.

    \b
    logstatsd normalize access.log --app myapp:app | jq -c 'select(.duration_us > 1e6)'
    """
    from logstatsd.cli.normalize import normalize_lines  # noqa: PLC0415

    normalize_lines(logs, given)


@cli.command(short_help="How a log is understood, and what it lacks.")
@click.argument("logs", metavar="LOG...", nargs=-1)
@app_options
@format_options
@option("--formats", is_flag=True, help="List the formats known by name.")
def check(logs: tuple[str, ...], formats: bool, **given: Any) -> None:
    """Show the format that was found, sample lines field by field, and the rule and metric of each.

    \b
    logstatsd check access.log
    logstatsd check access.log --app myapp:app
    logstatsd check --formats
    """
    from logstatsd.cli.check import check_logs, list_formats  # noqa: PLC0415

    if formats:
        list_formats()
    elif logs:
        check_logs(logs, given)
    else:
        raise OptionError("give a log to check, or --formats")


@cli.command(
    short_help="Print what StatsD traffic arrives.",
    context_settings={"allow_interspersed_args": False},
)
@click.argument("command", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@option("--port", type=click.IntRange(0, 65_535), help="The port; 0 for any free one. Default: 8125.")
@option("--socket", metavar="PATH", help="Listen at a Unix socket; unixstream:// before it for a stream.")
@option("--tcp", is_flag=True, help="Listen for plain StatsD over TCP.")
@option("--count", type=click.IntRange(1), metavar="N", help="End after so many values.")
@option("--for", "for_s", type=ABOVE_ZERO, metavar="SECONDS", help="End after so long.")
@option("--idle", "idle_s", type=ABOVE_ZERO, metavar="SECONDS", help="End when nothing has come for so long.")
@option("--json", "as_json", is_flag=True, help="One JSON object at the end.")
@quiet_option
def listen(command: tuple[str, ...], **given: Any) -> None:
    """Listen as a StatsD server does and, at the end, print what arrived, summed by name and tags.

    \b
    logstatsd listen
    logstatsd listen -- logstatsd replay access.log --app myapp:app

    With a COMMAND, it runs that with DD_AGENT_HOST and DD_DOGSTATSD_PORT set to where it listens, and ends
    when the command does, with its exit code.
    """
    from logstatsd.cli.listen import hear  # noqa: PLC0415

    hear(command, given)


__all__ = ["cli", "flask_command"]
