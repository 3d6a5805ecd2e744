"""Write the option tables of docs/commands.md from the commands themselves: `python docs/make_commands.py`.

What is between `<!-- NAME -->` and `<!-- end -->` is made here; the rest is written by hand.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path

import click

from logstatsd.cli import load_commands
from logstatsd.cli.config import options

PAGE = Path(__file__).with_name("commands.md")
COMMON = 3
"""An option that so many commands take, with the same help, is told of once."""


def rendered(page: str) -> str:
    """The page with its made parts made anew."""

    def made(found: re.Match[str]) -> str:
        name = found["name"]
        text = _common() if name == "common options" else _command(name, load_commands()[name])
        return f"<!-- {name} -->\n{text}\n<!-- end -->"

    return re.sub(r"<!-- (?P<name>[\w ]+) -->\n(?:(?!<!--).*\n)*<!-- end -->", made, page)


def _own(command: click.Command) -> list[click.Option]:
    found = {id(option): option for option in options(command).values()}
    return [option for option in found.values() if option.name != "help"]


def _row(option: click.Option) -> tuple[str, str]:
    """How an option is written, and what it means."""
    names = ", ".join(sorted(option.opts, key=len))
    if isinstance(option.type, click.Choice) and not option.metavar:
        names += f" {' or '.join(option.type.choices)}"
    elif not option.is_flag:
        names += f" {option.make_metavar(click.Context(click.Command('logstatsd')))}"
    default = f" Default: {option.default}." if option.show_default and not option.is_flag else ""
    return f"`{names}`", _escaped(f"{option.help}{default}")


def _escaped(text: str) -> str:
    return re.sub(r"(`[^`]*`)|<", lambda found: found[1] or "\\<", text).replace("|", "\\|")


def _rows_of_many() -> dict[tuple[str, str], list[str]]:
    """The options that many commands share, and which commands those are."""
    seen = Counter(_row(option) for command in load_commands().values() for option in _own(command))
    return {
        row: [name for name, command in load_commands().items() if row in map(_row, _own(command))]
        for row, times in seen.items()
        if times >= COMMON
    }


def _common() -> str:
    lines = ["| option | means | of |", "|---|---|---|"]
    for (names, meaning), commands in _rows_of_many().items():
        lines.append(f"| {names} | {meaning} | {', '.join(commands)} |")
    return "\n".join(lines)


def _command(name: str, command: click.Command) -> str:
    said, _, examples = inspect.cleandoc(command.help or "").partition("\b\n")
    examples, _, rest = examples.partition("\n\n")
    context = click.Context(command, info_name=f"logstatsd {name}")
    lines = [" ".join(said.split()), "", "```sh", examples.strip(), "```"]
    if rest:
        lines += ["", " ".join(rest.split())]
    lines += ["", f"`logstatsd {name} {' '.join(command.collect_usage_pieces(context))}`", ""]
    own = [row for row in map(_row, _own(command)) if row not in _rows_of_many()]
    if own:
        lines += ["| option | means |", "|---|---|", *(f"| {names} | {meaning} |" for names, meaning in own)]
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text("utf-8")), "utf-8")
