"""The command line's common parts: options that several commands take, errors as one line."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from logstatsd.cli import config
from logstatsd.cli.console import say
from logstatsd.cli.signals import _signals, _Terminated
from logstatsd.errors import LogstatsdError, OptionError

Function = TypeVar("Function", bound=Callable[..., Any])


class Option(click.Option):
    """An option that also reads `LOGSTATSD_<NAME>` from the environment, of its long name."""

    heading = "Options"
    """Under which the help lists it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.envvar:
            self.envvar = "LOGSTATSD_" + self.opts[-1].lstrip("-").replace("-", "_").upper()

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """One of several flags for the same parameter is turned on as any flag is; click would take no 0."""
        value = super().resolve_envvar_value(ctx)
        if value is None or not self.is_flag or not isinstance(self.flag_value, str):
            return value
        return self.flag_value if value.lower() in ("1", "true", "t", "yes", "y", "on") else None


class Number(click.FloatRange):
    """A number that is one: neither NaN nor infinite, within bounds."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


ABOVE_ZERO = Number(min=0, min_open=True)


def option(*names: str, **kwargs: Any) -> Callable[[Function], Function]:
    return click.option(*names, cls=Option, **kwargs)


class Command(click.Command):
    """A command whose help lists its own options first, then those of each kind under their heading."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {Option.heading: []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record and isinstance(param, click.Option):
                sections.setdefault(getattr(param, "heading", Option.heading), []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


class Group(click.Group):
    """Shows every error as one line, ends with the documented exit codes, reads the configuration."""

    command_class = Command

    def invoke(self, ctx: click.Context) -> Any:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a locale may know no box or micro sign
        with _signals():
            try:
                ctx.default_map = {**config.defaults(self.commands), **(ctx.default_map or {})}
                return super().invoke(ctx)
            except LogstatsdError as error:
                say(f"logstatsd: {error}")
                ctx.exit(error.exit_code)
            except KeyboardInterrupt as end:
                ctx.exit(143 if isinstance(end, _Terminated) else 130)
            except click.UsageError as error:
                path = error.ctx.command_path if error.ctx else ctx.command_path
                say(f"logstatsd: {error.format_message().rstrip('.')}; see `{path} --help`")
                ctx.exit(error.exit_code)
            except BrokenPipeError:
                raise
            except (
                OSError
            ) as error:  # most of all: what reads our output, or the disk it goes to, takes no more
                say(f"logstatsd: {error.filename or 'stdout'}: {error.strerror or error}")
                ctx.exit(1)
            except MemoryError:
                say("logstatsd: out of memory; try --jobs 1")
                ctx.exit(1)


def _stack(heading: str, *decorators: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """Options of one kind, as one decorator."""

    def decorate(command: Any) -> Any:
        before = len(getattr(command, "__click_params__", ()))
        for decorator in reversed(decorators):
            command = decorator(command)
        for param in command.__click_params__[before:]:
            param.heading = heading
        return command

    return decorate


logs_argument = click.argument("logs", metavar="LOG...", nargs=-1, required=True)

app_options = _stack(
    "App",
    option(
        "-A", "--app", "apps", multiple=True, metavar="MODULE:APP",
        help="The Flask app, as `flask --app` takes it; several as /prefix=module:app. "
        "Default: FLASK_APP, or the wsgi.py or app.py that Flask finds.",
    ),
    option(
        "--routes", metavar="FILE", help="A snapshot made by `logstatsd routes -o FILE`, instead of the app."
    ),
    option(
        "--no-converters", is_flag=True,
        help="Never ask the app's own converters whether they accept a value; keep the rule and count it.",
    ),
    option(
        "--strip-prefix", default="", metavar="/PREFIX", help="What nginx takes off before it asks the app."
    ),
    option(
        "--normalised-prefix", is_flag=True,
        help="Where nginx's `proxy_pass` has a URI: it resolves the path before it takes the prefix off.",
    ),
)  # fmt: skip

format_options = _stack(
    "Log format",
    option(
        "--log-format", default="", metavar="FORMAT",
        help="A format's name (see `logstatsd check --formats`), or nginx's log_format or gunicorn's "
        "access_log_format as it stands, or @nginx.conf, @nginx.conf:NAME, @gunicorn.conf.py. "
        "Default: found by the first lines.",
    ),
    option(
        "--field", "fields", multiple=True, metavar="ROLE=NAME",
        help="Take a role (duration, host, target, …) from another variable or JSON key.",
    ),
    option("--time-field", metavar="NAME", help="The variable to take durations from, if there are several."),
    option("--host-header", metavar="NAME", help="The variable that holds the host that the app saw."),
)  # fmt: skip

run_options = _stack(
    "Which lines, and how",
    option(
        "--since", metavar="WHEN",
        help="Only requests from then on: ISO 8601 (without an offset: the log's), -15m, -2h, yesterday.",
    ),
    option("--until", metavar="WHEN", help="Only requests before then."),
    option(
        "--jobs", type=click.IntRange(0), default=0, metavar="N", help="Worker processes; one a core."
    ),
    option(
        "--exclude", multiple=True, metavar="RULE",
        help="Leave out a rule or an endpoint, or a pattern of them such as 'static*'; counted as excluded.",
    ),
)  # fmt: skip

destination_options = _stack(
    "Destination",
    option("--host", metavar="HOST", help="The StatsD server's host. Default: DD_AGENT_HOST, or localhost."),
    option(
        "--port", type=click.IntRange(1, 65_535), metavar="PORT",
        help="Its port. Default: DD_DOGSTATSD_PORT, or 8125.",
    ),
    option(
        "--socket", metavar="PATH",
        help="Its Unix socket; unixgram:// or unixstream:// before the path says of which kind.",
    ),
    option("--tcp", is_flag=True, help="Send over TCP, as plain StatsD servers take it."),
    option(
        "--rate", type=Number(min=0), metavar="N",
        help="Datagrams a second over UDP; 0 for no pacing. Default: as fast as a local server takes them, "
        "2,000 to a remote one.",
    ),
    option(
        "--timeout", type=Number(min=0), default=10.0, show_default=True, metavar="SECONDS",
        help="How long to wait for a server that is away.",
    ),
)  # fmt: skip

metric_options = _stack(
    "Metrics",
    option("--app-name", metavar="NAME", help="What metric names start with. Default: the Flask app's name."),
    option("--prefix", default="", metavar="PREFIX", help="What goes before every metric name."),
    option("--tag", "tags", multiple=True, metavar="K:V", help="A tag for every metric; repeatable."),
    option(
        "--scheme", type=click.Choice(["flask", "otel"]), default="flask", show_default=True,
        help="How metrics and tags are named: this package's way, or OpenTelemetry's.",
    ),
    option("--per-endpoint", is_flag=True, help="Also send a timing named after the endpoint."),
    option(
        "--dialect", type=click.Choice(["dogstatsd", "statsd", "graphite", "influx"]), default="dogstatsd",
        show_default=True, help="How the server reads tags; plain statsd has them in the name.",
    ),
    option(
        "--type", type=click.Choice(["timing", "histogram", "distribution"]),
        help="The metrics' type. Default: timing, or the scheme's.",
    ),
    option("--pack", is_flag=True, help="Several values a line (Datadog Agent 7.25 and later)."),
    option(
        "--sample-rate", type=Number(min=0, max=1, min_open=True), default=1.0, show_default=True,
        metavar="SHARE",
        help="Send this share of the timings, marked with the rate.",
    ),
    option(
        "--max-series", type=click.IntRange(1), default=10_000, show_default=True, metavar="N",
        help="Series beyond so many go to one with url_rule:overflow.",
    ),
)  # fmt: skip

resume_options = _stack(
    "Going on where the last run stopped",
    option("--resume", is_flag=True, help="Send only what was added since the last run; remember how far."),
    option(
        "--checkpoint", metavar="FILE",
        help="Where to remember it, with --resume implied. Default: a file in the state directory.",
    ),
    option(
        "--state-dir", metavar="DIR",
        help="The state directory. Default: $STATE_DIRECTORY, $XDG_STATE_HOME/logstatsd or "
        "~/.local/state/logstatsd.",
    ),
    option(
        "--from", "from_", type=click.Choice(["start", "end"]), default="start", show_default=True,
        help="Where the first run begins.",
    ),
    option(
        "--until-eof", is_flag=True,
        help="Send a rotated file's last line even without its newline.",
    ),
    option("--wait", is_flag=True, help="Wait for another run to end, rather than end with 5."),
    option(
        "-f", "--follow", is_flag=True,
        help="Go on as lines are written, through rotations, with --resume implied.",
    ),
)  # fmt: skip


def on_command_line(*names: str) -> list[str]:
    """Those of the parameters that the command line itself gives, as it spells them."""
    context = click.get_current_context()
    given = {name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    return [param.opts[-1] for param in context.command.params if param.name in given]


def settle_destination(given: dict[str, Any]) -> None:
    """Let a destination on the command line win over one of another kind. Raises OptionError."""
    network, unix = on_command_line("host", "port", "tcp"), on_command_line("socket")
    if network and unix:
        raise OptionError(f"{network[0]} and --socket: give one of them")
    if network:
        given["socket"] = None
    elif given["socket"]:
        given["tcp"] = False


quiet_option = option("-q", "--quiet", is_flag=True, help="Say nothing on stderr unless something is wrong.")


def roles(fields: tuple[str, ...], time_field: str | None, host_header: str | None) -> dict[str, str]:
    """The variables that the user assigned to roles. Raises OptionError."""
    given = {}
    for field in fields:
        role, equals, name = field.partition("=")
        if not equals or role not in ROLES or not name:
            raise OptionError(f"--field {field}: give ROLE=NAME, the role one of {', '.join(ROLES)}")
        given[role] = name
    if time_field:
        given["duration"] = time_field
    if host_header:
        given["host"] = host_header
    return given


ROLES = ("request", "method", "target", "path", "status", "duration", "time", "host", "upstream", "cpu")
