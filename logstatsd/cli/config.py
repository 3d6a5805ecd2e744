"""Defaults for options, from `logstatsd.toml` or `[tool.logstatsd]` of pyproject.toml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from logstatsd.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

FILES = ("logstatsd.toml", "pyproject.toml")


def defaults(load_commands: Callable[[], Mapping[str, click.Command]]) -> dict[str, dict[str, Any]]:
    """The values that a file in the current folder gives to each command's options, by parameter.

    Keys are the options' long names. One outside of a table is for all commands that have such an option,
    one in a table `[report]` for that command alone. Raises OptionError.
    """
    for name in FILES:
        settings = _read(name)
        if settings:
            commands = load_commands()
            return {command: dict(_chosen(name, command, commands, settings)) for command in commands}
    return {}


def _read(name: str) -> dict[str, Any]:
    try:
        with open(name, "rb") as file:  # noqa: PTH123 - as quick as can be: it is done at every start
            import tomllib  # noqa: PLC0415

            settings = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise OptionError(f"{name}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise OptionError(f"{name}: {error}") from None
    if name == "pyproject.toml":
        tool = settings.get("tool", {})
        settings = tool.get("logstatsd", {}) if isinstance(tool, dict) else {}
    if not isinstance(settings, dict):
        raise OptionError(f"{name}: tool.logstatsd must be a table")
    return settings


def _chosen(
    name: str, command: str, commands: Mapping[str, click.Command], settings: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    known = {other: options(found) for other, found in commands.items()}
    for key, value in settings.items():
        if key in commands and isinstance(value, dict):
            continue
        if not any(_long(key) in names for names in known.values()):
            raise OptionError(f"{name}: there is no option {_long(key)}")
        if _long(key) in known[command]:
            yield _setting(known[command][_long(key)], value)
    table = settings.get(command, {})
    for key, value in table.items() if isinstance(table, dict) else ():
        if _long(key) not in known[command]:
            raise OptionError(f"{name}: {command} has no option {_long(key)}")
        yield _setting(known[command][_long(key)], value)


def options(command: click.Command) -> dict[str, click.Option]:
    """A command's options by their long names."""
    return {
        name: option
        for option in command.params
        if isinstance(option, click.Option)
        for name in option.opts
        if name.startswith("--")
    }


def _long(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _setting(option: click.Option, value: Any) -> tuple[str, Any]:
    if option.multiple and not isinstance(value, list):
        value = [value]
    return option.name or "", value
