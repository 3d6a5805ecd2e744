"""The command line: the group of commands, and how every one of them ends."""

from __future__ import annotations

import io
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


class CommandGroup(click.Group):
    """Imports a command when it is asked for, reads the configuration, shows every error as one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Command | None:  # noqa: ARG002
        return load_command(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, listed.short_help) for name, listed in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a locale may know no box or micro sign
        with signals.terminable():
            try:
                ctx.default_map = {**config.defaults(load_commands), **(ctx.default_map or {})}
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
def cli() -> None:
    """Per-route latency metrics for Flask apps, from the access logs they already write.

    \b
    logstatsd report access.log --app myapp:app
    logstatsd replay access.log --app myapp:app
    logstatsd check  access.log --app myapp:app
    """


flask_command = cli
