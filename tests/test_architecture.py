"""docs/architecture.md says what the import contract says, and names what the code has."""

from __future__ import annotations

import inspect
import re
import tomllib
from importlib import import_module

import pytest
from places import DOCS, ROOT

PAGE = (DOCS / "architecture.md").read_text("utf-8")
PACKAGE = ROOT / "logstatsd"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
CONTRACTS = {contract["name"]: contract for contract in SETTINGS["contracts"]}
MODEL = [path.stem for path in (PACKAGE / "model").glob("[a-z]*.py")]


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def table(title: str) -> list[list[str]]:
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


def code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def names(text: str) -> list[str]:
    return re.findall(r"`([A-Z]\w+)`", text)


def is_used(word: str, room: str) -> bool:
    """Tell whether a room's code has the word, or a name that begins with it; a capital in it counts."""
    pattern = re.compile(rf"(?<![a-zA-Z]){word}", re.NOFLAG if word[0].isupper() else re.IGNORECASE)
    return any(pattern.search(path.read_text("utf-8")) for path in (PACKAGE / room).rglob("*.py"))


def test_the_layers_on_the_page_are_those_of_the_contract() -> None:
    (drawn,) = re.findall(r"```text\n(.*?)```", section("Layers"), re.DOTALL)
    contract = CONTRACTS["Arrows point down"]

    assert drawn.splitlines() == contract["layers"]
    assert contract["exhaustive"]
    assert SETTINGS["exclude_type_checking_imports"] is False


def test_the_rooms_on_the_page_are_the_folders_and_modules() -> None:
    found = {path.stem for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"}

    assert {code(name)[0] for name, _ in table("Rooms")} == found - {"__init__", "__pycache__"}


def test_each_step_of_the_flow_takes_what_was_made_before_and_makes_what_its_room_has() -> None:
    made: set[str] = set()
    for cell, takes, makes in table("Flow"):
        (room,) = code(cell)
        assert set(names(takes)) <= made
        assert [name for name in names(makes) if not is_used(name, room)] == []
        made.update(names(makes))
    assert {"Batch", "Summary", "Sink"} <= made


def test_what_a_worker_imports_is_what_the_contract_says() -> None:
    contract = CONTRACTS["What a worker imports knows neither the app nor the terminal"]
    said, _, rest = section("What a worker imports").partition(". A worker process")
    covered = {name.removeprefix("logstatsd.") for name in contract["source_modules"]}

    assert set(code(said)) == covered | set(contract["forbidden_modules"])
    assert "allow_indirect_imports" not in contract
    outside = {path.stem for path in (PACKAGE / "routing").glob("[a-z]*.py")}
    outside -= {name.removeprefix("routing.") for name in covered}
    assert set(code(rest.partition("\nOf `routing`, only ")[2])) == outside


def test_only_cli_knows_click_and_the_contract_covers_every_other_room() -> None:
    contract = CONTRACTS["Only cli knows click"]
    rooms = {path.stem for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"}
    rooms -= {"__init__", "__pycache__", "__main__", "cli"}

    assert contract["forbidden_modules"] == ["click"]
    assert set(contract["source_modules"]) == {f"logstatsd.{room}" for room in rooms}


def test_the_glossary_is_in_order() -> None:
    terms = [row[0].strip("`").lower() for row in table("Glossary")]

    assert len(terms) > 50
    assert terms == sorted(terms)


@pytest.mark.parametrize(("term", "room", "meaning"), table("Glossary"))
def test_a_term_of_the_glossary_is_used_in_its_room(term: str, room: str, meaning: str) -> None:
    assert is_used(re.split(r"\W", term.strip("`"))[0], room.strip("`"))
    assert meaning.endswith(".")


@pytest.mark.parametrize("module", MODEL)
def test_every_class_of_the_model_is_in_the_glossary(module: str) -> None:
    found = inspect.getmembers(import_module(f"logstatsd.model.{module}"), inspect.isclass)
    own = {name for name, each in found if each.__module__ == f"logstatsd.model.{module}"}

    assert own <= {row[0].strip("`") for row in table("Glossary")}
