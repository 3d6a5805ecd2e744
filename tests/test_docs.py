"""The manual says what the commands do: made from them where it can be, and held to them where it is not."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from command import invoke, run
from places import DOCS, ROOT, SAMPLE_LOGS, SHOP

from logstatsd import errors
from logstatsd.cli import COMMANDS as COMMANDS_TABLE
from logstatsd.cli import load_commands
from logstatsd.cli.config import defaults, options

if TYPE_CHECKING:
    from pathlib import Path

    import click

PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
COMMANDS = (DOCS / "commands.md").read_text("utf-8")
EVERY_OPTION = [
    pytest.param(command, name, option, id=f"{command} {name}")
    for command, found in load_commands().items()
    for name, option in options(found).items()
]
EVERY_COMMAND = pytest.mark.parametrize("command", load_commands())


def section(title: str) -> str:
    return COMMANDS.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


# --- docs/commands.md -------------------------------------------------------------------------------------


def test_the_tables_of_options_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    import make_commands

    assert make_commands.rendered(COMMANDS) == COMMANDS, "run: make docs"


@EVERY_COMMAND
def test_every_command_has_a_section_and_shows_examples(command: str) -> None:
    assert f"```sh\nlogstatsd {command}" in section(command)
    assert COMMANDS_TABLE[command].short_help


@pytest.mark.parametrize(("command", "name", "option"), EVERY_OPTION)
def test_every_option_has_help_and_is_in_the_manual(command: str, name: str, option: click.Option) -> None:
    assert option.help
    assert option.help[0].isupper()
    assert option.help.endswith(".")
    shared = section("Options of several commands").splitlines()
    rows = [row for row in shared if command in row.rstrip(" |").rpartition(" | ")[2].split(", ")]
    rows += section(command).splitlines()
    assert [row for row in rows if re.match(rf"\| `(-\w, )?{name}[ `]", row)]


@pytest.mark.parametrize(("command", "name", "option"), EVERY_OPTION)
def test_every_option_reads_its_own_variable(command: str, name: str, option: click.Option) -> None:
    variable = name[2:].replace("-", "_").upper()
    assert option.envvar == [f"LOGSTATSD_{command.upper()}_{variable}", f"LOGSTATSD_{variable}"]


def test_every_exit_code_is_explained() -> None:
    codes = {error.exit_code for error in vars(errors).values() if isinstance(error, type)}
    cells = re.findall(r"^\| ([\d, ]+) \|", section("Exit codes"), re.MULTILINE)
    told = {int(code) for cell in cells for code in cell.split(",")}
    assert told == codes | {0, 129, 130, 143}
    readme = (ROOT / "README.md").read_text("utf-8")
    assert {f"| {code} |" for code in codes} <= set(re.findall(r"^\| \d \|", readme, re.MULTILINE))


@pytest.mark.parametrize(
    "args",
    [
        ["report", "--json"], ["routes", "--json"], ["normalize", "--target"],
        ["replay", "--json", "--dry-run"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_name_in_json_is_in_the_manual(args: list[str]) -> None:
    done = invoke(*args, SAMPLE_LOGS / "nginx.log", "--app", SHOP)
    text = done.stderr if "replay" in args else done.stdout
    text = text if "routes" in args or "report" in args else text.splitlines()[0]
    told = set(re.findall(r"`(\w+)`|\"(\w+)\"", section("JSON")))
    assert _names(json.loads(text)) <= {name for pair in told for name in pair}


def _names(found: Any) -> set[str]:
    if isinstance(found, list):
        return set().union(*map(_names, found))
    if not isinstance(found, dict):
        return set()
    inner = {} if "converters" in found else found  # there, names are the app's
    return set(found) - {"no match", "empty", "bad duration"} | _names(list(inner.values()))


def test_the_example_of_a_configuration_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", section("Configuration"), re.DOTALL)
    (tmp_path / "logstatsd.toml").write_text(example)
    monkeypatch.chdir(tmp_path)
    found = defaults(load_commands)
    assert found["report"]["apps"] == ["shop:app"]
    assert found["report"]["by"] == ["endpoint"]
    assert found["routes"] == {"apps": ["shop:app"], "exclude": ["static", "pages.health"]}
    assert found["replay"]["host"] == "10.0.0.5"
    assert "host" not in found["listen"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(shell: str) -> None:
    assert f"_LOGSTATSD_COMPLETE={shell}_source logstatsd" in section("Shell completion")
    words = {"COMP_WORDS": "logstatsd report --mark", "COMP_CWORD": "--mark" if shell == "fish" else "2"}
    done = run(env={"_LOGSTATSD_COMPLETE": f"{shell}_complete", **words})
    assert "--markdown" in done.stdout


# --- commands anywhere in the manual ----------------------------------------------------------------------


def written() -> list[Any]:
    """Every logstatsd command in a block of code: `\\` joins lines, pipes and `&&` part commands."""
    blocks = [
        (page.name, block)
        for page in PAGES
        for block in re.findall(r"```(?:sh|console|bash)?\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    ]
    lines = [(name, text) for name, block in blocks for text in block.replace("\\\n", " ").splitlines()]
    return [
        pytest.param(command, id=f"{name}: {shlex.join(command)[:60]}")
        for name, text in lines
        for command in _commands(_words(text.removeprefix("$ ")))
    ]


def _words(text: str) -> list[str]:
    lexed = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexed.whitespace_split = True
    try:
        return list(lexed)
    except ValueError:  # no shell: a quote that is an apostrophe
        return []


def _commands(words: list[str]) -> list[list[str]]:
    """The arguments of each logstatsd among the words of a shell's line."""
    found = []
    ends = [n for n, word in enumerate(words) if set(word) <= set("|&;<>()")] + [len(words)]
    start = 0
    for end in ends:
        part = words[start:end]
        start = end + 1
        while part:
            names = [n for n, word in enumerate(part) if word.rpartition("/")[2] == "logstatsd"]
            if not names or part[0] == "pip" or (names[0] and part[names[0] - 1] in ("install", "cd", "git")):
                break
            rest = part[names[0] + 1 :]
            own = rest[: rest.index("--")] if "--" in rest else rest
            if own and own[0] not in ("X", "…"):
                found.append(own)
            part = rest[len(own) :]
    return found


def test_there_are_commands_in_the_manual() -> None:
    assert len(written()) > 20


@pytest.mark.parametrize("args", written())
def test_a_command_in_the_manual_is_one(args: list[str]) -> None:
    name, *rest = args
    if name.startswith("-"):
        return
    command = load_commands()[name]
    context = command.make_context(name, list(rest), resilient_parsing=False)
    assert context.params


def test_help_lists_options_by_kind_and_a_commands_own_first() -> None:
    shown = invoke("replay", "--help").stdout
    headings = re.findall(r"^(\w.*):$", shown, re.MULTILINE)
    assert headings[:2] == ["Options", "App"]
    assert {"Log format", "Destination", "Metrics"} <= set(headings)
    options, destination = shown.index("  -n, --dry-run"), shown.index("Destination:")
    assert options < destination < shown.index("  --host HOST")
    assert "  LOG..." not in shown
