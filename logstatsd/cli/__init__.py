"""The command line: the group of commands, and how every one of them ends."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from logstatsd import __version__
from logstatsd.cli import config, signals
from logstatsd.cli.console import say
from logstatsd.errors import LogstatsdError

if TYPE_CHECKING:
    from logstatsd.cli.options import Command


class Listed(NamedTuple):
    """A command: the module that has it under its own name, imported when it is run, and a word on it."""

    module: str
    short_help: str


COMMANDS: dict[str, Listed] = {
    "report": Listed("logstatsd.cli.report", "A table per rule: requests, errors, percentiles."),
    "replay": Listed("logstatsd.cli.replay", "Send the timings to a StatsD server."),
    "normalize": Listed("logstatsd.cli.normalize", "One JSON object a log line, with its rule."),
    "routes": Listed("logstatsd.cli.routes", "The app's rules; with logs, which of them are used."),
    "check": Listed("logstatsd.cli.check", "How a log is understood, and what it lacks."),
    "listen": Listed("logstatsd.cli.listen", "Print what StatsD traffic arrives."),
}


_PREFIX = "LOGSTATSD_"
OTHER_VARIABLES = {"LOGSTATSD_CONFIG", "LOGSTATSD_SCANNER"}
"""Variables that are read, but are no option's of a command."""


class CommandGroup(click.Group):
    """Imports a command when it is asked for, reads the configuration, shows every error as one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command = load_command(cmd_name)
        _tell_misspelt_variables(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, listed.short_help) for name, listed in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a locale may know no box or micro sign
        with signals.terminable():
            try:
                defaults = config.defaults(load_commands, ctx.params.get("config"))
                ctx.default_map = {**defaults, **(ctx.default_map or {})}
                return super().invoke(ctx)
            except BrokenPipeError:
                raise
            except (LogstatsdError, KeyboardInterrupt, click.UsageError, OSError, MemoryError) as error:
                text, code = _ending(error, ctx)
                if text:
                    say(f"logstatsd: {text}")
                ctx.exit(code)


def _ending(error: BaseException, ctx: click.Context) -> tuple[str, int]:
    """What to say of an error that ends a command, and the exit code."""
    match error:
        case LogstatsdError():
            return str(error), error.exit_code
        case KeyboardInterrupt():
            return "", signals.exit_code(error)
        case click.UsageError():
            path = error.ctx.command_path if error.ctx else ctx.command_path
            return f"{error.format_message().rstrip('.')}; see `{path} --help`", error.exit_code
        case OSError():  # most of all: what reads our output, or the disk it goes to, takes no more
            return f"{error.filename or 'stdout'}: {error.strerror or error}", 1
        case _:
            return "out of memory; try --jobs 1", 1


def _tell_misspelt_variables(command: Command) -> None:
    """Say which variables look like one that an option of this command reads, and are none's."""
    ours = {name for name in os.environ if name.startswith(_PREFIX) and name not in OTHER_VARIABLES}
    known = {name for param in command.params for name in _names(param)}
    if not ours - known:
        return
    import difflib  # noqa: PLC0415 - nearly every start does without

    for name in sorted(ours - known):
        near = difflib.get_close_matches(
            name[len(_PREFIX) :], [each[len(_PREFIX) :] for each in known], 1, 0.8
        )
        params = (param for each in load_commands().values() for param in each.params) if near else ()
        if near and not any(name in _names(param) for param in params):
            say(f"{name}: no option reads this variable; did you mean {_PREFIX}{near[0]}?")


def _names(param: click.Parameter) -> list[str]:
    return [param.envvar] if isinstance(param.envvar, str) else list(param.envvar or ())


def load_command(name: str) -> Command:
    """Import one of COMMANDS."""
    command: Command = getattr(import_module(COMMANDS[name].module), name)
    return command


def load_commands() -> dict[str, Command]:
    """Import all COMMANDS."""
    return {name: load_command(name) for name in COMMANDS}


@click.group(
    cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, "--version", "-V", prog_name="logstatsd")
@click.option(
    "--config",
    metavar="FILE",
    envvar="LOGSTATSD_CONFIG",
    help="The configuration to read. Default: logstatsd.toml or pyproject.toml here or in a folder above.",
)
def cli(config: str | None) -> None:
    """Per-route latency metrics for Flask apps, from the access logs they already write.

    \b
    logstatsd report access.log --app myapp:app
    logstatsd replay access.log --app myapp:app
    logstatsd check  access.log --app myapp:app
    """


flask_command = cli
