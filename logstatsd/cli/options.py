"""Declare options: each group is one frozen dataclass, which declares the options and holds their values."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import click
from click.core import ParameterSource

from logstatsd.engine import AUTO, ENGINES
from logstatsd.errors import FormatError, OptionError
from logstatsd.scan.scanners import SCANNERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from logstatsd.model.line_counts import LineCounts

_DECLARED, _FLAGS = "option", "flags"

PREFIX = "LOGSTATSD_"
"""What the variables begin with that options read from the environment."""

FLASK = "FLASK"
PRECEDENCE = ("COMMANDLINE", FLASK, "ENVIRONMENT", "DEFAULT_MAP", "DEFAULT")
"""Where a value may come from, strongest first; click's default map is the configuration file."""


class Option(click.Option):
    """An option that also reads `LOGSTATSD_<NAME>` from the environment, of its long name."""

    heading = "Options"
    """Under which the help lists it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.envvar:
            self.envvar = PREFIX + self.opts[-1].lstrip("-").replace("-", "_").upper()


class Number(click.FloatRange):
    """A number that is one: neither NaN nor infinite, within bounds."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


ABOVE_ZERO = Number(min=0, min_open=True)


class Share(Number):
    """A share of all: `0.2`, or `20%`."""

    name = "share"

    def __init__(self) -> None:
        super().__init__(min=0, max=1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, str) and value.strip().endswith("%"):
            with contextlib.suppress(ValueError):
                value = float(value.strip()[:-1]) / 100
        return super().convert(value, param, ctx)


class RejectedLimit(NamedTuple):
    """The share of rejected lines above which a run fails, if it has read `at_least` so many lines."""

    share: float | None = None
    at_least: int = 1

    def is_above(self, counts: LineCounts) -> bool:
        """Whether more than the share was rejected, of however few lines; blank ones do not count."""
        blank = counts.rejected["empty"]
        rejected, lines = counts.rejected.total() - blank, counts.lines - blank
        return self.share is not None and rejected > self.share * lines

    def check(self, counts: LineCounts, log: str) -> None:
        """Raise FormatError where a log's lines are above the limit."""
        if self.share is not None and counts.lines >= self.at_least and self.is_above(counts):
            raise FormatError(
                f"{log}: {counts.rejected.total():,} of {counts.lines:,} lines rejected, more than "
                f"--max-rejected {self.share:.0%}; `logstatsd check` shows where they stop fitting"
            )


HALF_OF_MANY = RejectedLimit(0.5, at_least=100)
"""The limit where a checkpoint would move past lines that the right format could still read."""


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


def option(*names: str, **settings: Any) -> Any:
    """Declare a field of an Options class, and the option that sets it, as `click.option` does."""
    default = settings.get("default", _unset(settings))
    return field(default=default, metadata={_DECLARED: (names, settings)})


def one_of_flags(**about: str) -> Any:
    """Declare a field that is set to the name of the flag given: `--json`, `--csv`, …; None without one."""
    return field(default=None, metadata={_FLAGS: about})


def choice_of(table: Iterable[str], *names: str, **settings: Any) -> Any:
    """Declare an option whose choices are the keys of a table."""
    return option(*names, type=click.Choice(list(table)), **settings)


def _unset(settings: Mapping[str, Any]) -> Any:
    return () if settings.get("multiple") else False if settings.get("is_flag") else None


@dataclass(frozen=True, kw_only=True)
class Options:
    """A group of options, and for each field where its value came from: one of PRECEDENCE.

    A subclass declares its fields with `option`. Without arguments it has every option's default.
    """

    heading: ClassVar[str] = Option.heading
    origins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def declared(cls) -> dict[str, tuple[tuple[str, ...], dict[str, Any]]]:
        """For each parameter of the command line, in order, its names and settings, as click has them."""
        found: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {}
        for each in dataclasses.fields(cls):
            if _DECLARED in each.metadata:
                found[each.name] = each.metadata[_DECLARED]
            for flag, about in each.metadata.get(_FLAGS, {}).items():
                found[f"{each.name}_{flag}"] = (f"--{flag}",), {"is_flag": True, "help": about}
        return found

    @classmethod
    def take(cls, context: click.Context, values: dict[str, Any]) -> Self:
        """Take the group's own values out of all that click has parsed. Raises OptionError."""
        taken: dict[str, Any] = {name: values.pop(name) for name in cls.declared()}
        sources = {name: context.get_parameter_source(name) or ParameterSource.DEFAULT for name in taken}
        origins = {name: source.name for name, source in sources.items()}
        for each in dataclasses.fields(cls):
            if _FLAGS in each.metadata:
                names = {f"{each.name}_{flag}": flag for flag in each.metadata[_FLAGS]}
                given = {flag: origins[name] for name, flag in names.items() if taken.pop(name)}
                taken[each.name] = _strongest(given)
        return cls(origins=origins, **taken)

    def on_command_line(self, *names: str) -> list[str]:
        """Those of the parameters that the command line itself gives, as it spells their options."""
        declared = self.declared()
        return [declared[name][0][-1] for name in names if self.origins.get(name) == "COMMANDLINE"]


def _strongest(given: Mapping[str, str]) -> str | None:
    """Of flags of which one may be given, that from the strongest origin. Raises OptionError for two."""
    if not given:
        return None
    best = min(given.values(), key=PRECEDENCE.index)
    chosen = [flag for flag, origin in given.items() if origin == best]
    if len(chosen) > 1:
        raise OptionError(f"{' and '.join(f'--{flag}' for flag in chosen)}: give one of them")
    return chosen[0]


def takes(**groups: type[Options]) -> Callable[[Callable[..., int | None]], Any]:
    """Give a command function an argument for each group of options; its result is the exit code, if any."""

    def decorate(function: Callable[..., int | None]) -> Any:
        @functools.wraps(function)
        def call(**values: Any) -> None:
            context = click.get_current_context()
            taken = {name: group.take(context, values) for name, group in groups.items()}
            if code := function(**values, **taken):
                context.exit(code)

        decorated: Any = call
        decorated.__click_params__ = []
        for group in reversed(groups.values()):
            before = len(decorated.__click_params__)
            for name, (names, settings) in reversed(group.declared().items()):
                decorated = click.option(*names, name, cls=Option, **settings)(decorated)
            for param in decorated.__click_params__[before:]:
                param.heading = group.heading
        return decorated

    return decorate


def command(**settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a command, each of whose options reads its variable, for all commands or for this."""

    def decorate(function: Callable[..., Any]) -> Command:
        made: Command = click.command(cls=Command, **settings)(function)
        for param in made.params:
            if isinstance(param, Option) and isinstance(param.envvar, str):
                own = param.envvar.replace(PREFIX, f"{PREFIX}{(made.name or '').upper()}_", 1)
                param.envvar = [own, param.envvar]
        return made

    return decorate


logs_argument = click.argument("logs", metavar="LOG...", nargs=-1, required=True)


def quiet() -> Any:
    """Declare `--quiet`."""
    return option("-q", "--quiet", is_flag=True, help="Say nothing on stderr unless something is wrong.")


@dataclass(frozen=True, kw_only=True)
class AppOptions(Options):
    """Which app, or snapshot of its routes, labels the requests."""

    heading: ClassVar[str] = "App"

    apps: tuple[str, ...] = option(
        "-A", "--app", multiple=True, metavar="MODULE:APP",
        help="The Flask app, as `flask --app` takes it; several as /prefix=module:app. "
        "Default: FLASK_APP, or the wsgi.py or app.py that Flask finds.",
    )  # fmt: skip
    routes: str | None = option(
        "--routes", metavar="FILE", help="A snapshot made by `logstatsd routes -o FILE`, instead of the app."
    )
    no_converters: bool = option(
        "--no-converters", is_flag=True,
        help="Never ask the app's own converters whether they accept a value; keep the rule and count it.",
    )  # fmt: skip
    converter_timeout: float = option(
        "--converter-timeout", type=ABOVE_ZERO, default=1.0, show_default=True, metavar="SECONDS",
        help="How long a converter of the app's own may take to answer; then its rule is kept and counted.",
    )  # fmt: skip
    strip_prefix: str = option(
        "--strip-prefix", default="", metavar="/PREFIX", help="What nginx takes off before it asks the app."
    )
    normalised_prefix: bool = option(
        "--normalised-prefix", is_flag=True,
        help="Where nginx's `proxy_pass` has a URI: it resolves the path before it takes the prefix off.",
    )  # fmt: skip
    flask: Any = field(default=None, repr=False)
    """Flask's own ScriptInfo, where the command runs as `flask logstatsd`."""
    at_end: Callable[[Callable[[], Any]], Any] = field(default=lambda _: None, repr=False, compare=False)
    """Takes what is to be called when the command ends."""

    @classmethod
    def take(cls, context: click.Context, values: dict[str, Any]) -> Self:
        """Take the values, and Flask's ScriptInfo where there is one."""
        info = context.find_root().obj
        taken = super().take(context, values)
        flask = info if hasattr(info, "load_app") else None
        return dataclasses.replace(taken, flask=flask, at_end=context.call_on_close)


@dataclass(frozen=True, kw_only=True)
class FormatOptions(Options):
    """How the lines of the logs are written."""

    heading: ClassVar[str] = "Log format"

    log_format: str = option(
        "--log-format", default="", metavar="FORMAT",
        help="A format's name (see `logstatsd check --formats`), or nginx's log_format or gunicorn's "
        "access_log_format as it stands, or @nginx.conf, @nginx.conf:NAME, @gunicorn.conf.py. "
        "Default: found by the first lines.",
    )  # fmt: skip
    fields: tuple[str, ...] = option(
        "--field", multiple=True, metavar="ROLE=NAME",
        help="Take a role (duration, host, target, …) from another variable or JSON key.",
    )  # fmt: skip
    time_field: str | None = option(
        "--time-field", metavar="NAME", help="The variable to take durations from, if there are several."
    )
    host_header: str | None = option(
        "--host-header", metavar="NAME", help="The variable that holds the host that the app saw."
    )

    def roles(self) -> dict[str, str]:
        """The variables that are assigned to roles. Raises OptionError."""
        given = {}
        for text in self.fields:
            role, equals, name = text.partition("=")
            if not equals or role not in ROLES or not name:
                raise OptionError(f"--field {text}: give ROLE=NAME, the role one of {', '.join(ROLES)}")
            given[role] = name
        given |= {"duration": self.time_field} if self.time_field else {}
        given |= {"host": self.host_header} if self.host_header else {}
        return given


ROLES = ("request", "method", "target", "path", "status", "duration", "time", "host", "upstream", "cpu")


@dataclass(frozen=True, kw_only=True)
class RunOptions(Options):
    """Which lines of the logs count, and how they are read."""

    heading: ClassVar[str] = "Which lines, and how"

    since: str | None = option(
        "--since", metavar="WHEN",
        help="Only requests from then on: ISO 8601 (without an offset: the log's), -15m, -2h, yesterday.",
    )  # fmt: skip
    until: str | None = option("--until", metavar="WHEN", help="Only requests before then.")
    fast: bool = option(
        "--fast", is_flag=True,
        help="With --since or --until, skip what lies outside by bisection: lines more than a minute out of "
        "order may be missed.",
    )  # fmt: skip
    jobs: int = option(
        "--jobs", type=click.IntRange(0), default=0, metavar="N", help="Worker processes; one a core."
    )
    max_rejected: float | None = option(
        "--max-rejected", type=Share(), metavar="SHARE",
        help="Fail (exit 1) where more of the lines are rejected: 0.01, or 1%. Default: no limit for report, "
        "normalize and routes; half of at least 100 lines for replay.",
    )  # fmt: skip
    engine: str = choice_of(
        (AUTO, *ENGINES), "--engine", default=AUTO, show_default=True,
        help="Where the work is done: by itself here or in worker processes, as the size of the logs asks.",
    )  # fmt: skip
    scanner: str = choice_of(
        ("auto", *SCANNERS), "--scanner", default="auto", show_default=True,
        help="What reads the lines: by itself the compiled scanner if it is installed, else Python's.",
    )  # fmt: skip
    exclude: tuple[str, ...] = option(
        "--exclude", multiple=True, metavar="RULE",
        help="Leave out a rule or an endpoint, or a pattern of them such as 'static*'; counted as excluded.",
    )  # fmt: skip

    def limit(self, default: RejectedLimit = RejectedLimit()) -> RejectedLimit:  # noqa: B008 - immutable
        """How many rejected lines are too many."""
        return default if self.max_rejected is None else RejectedLimit(self.max_rejected)

    @property
    def chosen_scanner(self) -> str:
        """The scanner asked for; "" to choose the best."""
        return "" if self.scanner == "auto" else self.scanner
