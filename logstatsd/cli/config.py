"""Defaults for options, from `logstatsd.toml` or `[tool.logstatsd]` of pyproject.toml."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from logstatsd.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

FILES = ("logstatsd.toml", "pyproject.toml")


def defaults(
    load_commands: Callable[[], Mapping[str, click.Command]], given: str | None = None
) -> dict[str, dict[str, Any]]:
    """The values that a configuration file gives to each command's options, by parameter.

    The file is the one `given`, or the first of FILES with settings in the current folder or one above it.
    Keys are the options' long names. One outside of a table is for all commands that have such an option,
    one in a table `[report]` for that command alone. Raises OptionError.
    """
    name, settings = _given(given) if given else _found()
    if not settings:
        return {}
    commands = load_commands()
    return {command: dict(_chosen(name, command, commands, settings)) for command in commands}


def _given(name: str) -> tuple[str, dict[str, Any]]:
    settings = _read(name)
    if settings is None:
        raise OptionError(f"{name}: no such file; --config names the configuration to read")
    return name, settings


def _found() -> tuple[str, dict[str, Any]]:
    try:
        folder = os.getcwd()  # noqa: PTH109 - as quick as can be: it is done at every start
    except OSError:  # it was removed
        return "", {}
    above = ""
    while True:
        for name in FILES:
            if settings := _read(above + name):
                return above + name, settings
        if os.path.dirname(folder) == folder:  # noqa: PTH120
            return "", {}
        folder, above = os.path.dirname(folder), f"../{above}"  # noqa: PTH120


def _read(name: str) -> dict[str, Any] | None:
    """The settings of a file; None where there is none. Raises OptionError."""
    try:
        with open(name, "rb") as file:  # noqa: PTH123
            import tomllib  # noqa: PLC0415 - most starts find no file

            settings = tomllib.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OptionError(f"{name}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise OptionError(f"{name}: {error}") from None
    if name.endswith("pyproject.toml"):
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
            yield _setting(f"{name}: {key}", known[command][_long(key)], value)
    table = settings.get(command, {})
    for key, value in table.items() if isinstance(table, dict) else ():
        if _long(key) not in known[command]:
            raise OptionError(f"{name}: {command} has no option {_long(key)}")
        yield _setting(f"{name}: {command}.{key}", known[command][_long(key)], value)


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


def _setting(where: str, option: click.Option, value: Any) -> tuple[str, Any]:
    """The value of an option as its parameter takes it. Raises OptionError for one of another type."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise OptionError(f"{where} must be true or false")
        return option.name or "", value
    values = value if option.multiple and isinstance(value, list) else [value]
    texts = [_as_text(where, each, several=option.multiple) for each in values]
    return option.name or "", texts if option.multiple else texts[0]


def _as_text(where: str, value: Any, *, several: bool) -> str:
    """A value as it would stand on the command line."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise OptionError(f"{where} must be a text or a number{', or a list of them' if several else ''}")
    try:
        text = str(value)
    except ValueError:  # of an integer with very many digits
        text = "\0"
    if "\0" in text:
        raise OptionError(f"{where} cannot be read: it is too long, or holds a zero byte")
    return text
