"""The house stays as it was drawn: short pieces, arrows that point down, one name for one thing."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import pytest
from places import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PACKAGE = ROOT / "logstatsd"
MOST_LINES = {"module": 400, "class": 150, "function": 40}
MOST_ENTRIES = 16
MOST_LATE_IMPORTS = 25

SHARED_NAMES = {
    "SCHEMA": "each document has its own number",
    "VERSION": "each file that is kept has its own number",
    "__all__": "Python's own",
    "from_flask_cli": "`app` loads in this process, `app_process` in another, alike",
    "load": "`app` loads in this process, `app_process` in another, alike",
    "make": "each encoder has one, which ENCODERS names",
    "run": "each engine has one, which ENGINES names",
}
"""Public names that several modules may have, and why."""


class Piece(NamedTuple):
    """A module, class or function, and how long it is."""

    kind: str
    name: str
    lines: int


def modules() -> dict[str, ast.Module]:
    """Every module of the package, parsed, by its path."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_text("utf-8")) for path in paths}


def length(node: ast.AST) -> int:
    """The lines of a class or function, its decorators included, or of a statement."""
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
    return node.end_lineno - first + 1


def is_table(node: ast.AST) -> bool:
    """Tell whether a statement of a module is data alone."""
    value = getattr(node, "value", None)
    return isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(value, ast.Dict | ast.Tuple | ast.List)


def pieces() -> Iterator[Piece]:
    """All that has a limit. Tables of a module do not count for its length."""
    for path, tree in modules().items():
        tables = sum(length(node) for node in tree.body if is_table(node))
        yield Piece("module", path, len((PACKAGE / path).read_text("utf-8").splitlines()) - tables)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                yield Piece("class", f"{path}: {node.name}", length(node))
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield Piece("function", f"{path}: {node.name}", length(node))


@pytest.mark.parametrize("kind", MOST_LINES)
def test_nothing_is_too_long_to_be_read_at_once(kind: str) -> None:
    of_kind = [piece for piece in pieces() if piece.kind == kind]
    assert len(of_kind) > 50
    assert [piece for piece in of_kind if piece.lines > MOST_LINES[kind]] == []


def test_the_package_can_be_seen_at_a_glance() -> None:
    entries = {path.name for path in PACKAGE.iterdir()} - {"py.typed", "__pycache__"}
    assert len(entries) <= MOST_ENTRIES, sorted(entries)


def test_imports_are_at_the_top_but_for_what_is_heavy() -> None:
    late = [
        f"{path.name}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if re.search(r"# noqa:.*\bPLC0415\b", line)
    ]
    assert 0 < len(late) <= MOST_LATE_IMPORTS, late


# --- names ------------------------------------------------------------------------------------------------


def top_level_names(tree: ast.Module) -> Iterator[str]:
    """List what a module defines for others to use: not what it imports, nor names with an underscore."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def test_no_two_things_have_one_name() -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for path, tree in modules().items():
        for name in top_level_names(tree):
            places[name].add(path)
    shared = {name for name, paths in places.items() if len(paths) > 1}
    public = {name for name in shared if name == "__all__" or not name.startswith("_")}
    assert {name: sorted(places[name]) for name in public - SHARED_NAMES.keys()} == {}
    assert SHARED_NAMES.keys() <= public, "what is not shared any more need not be listed"


# --- arrows -----------------------------------------------------------------------------------------------


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the package, to be changed."""
    shutil.copytree(PACKAGE, tmp_path / "logstatsd", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def broken_contracts(house: Path, lint_imports: str) -> list[str]:
    """The contracts that import-linter finds broken."""
    done = subprocess.run(
        [lint_imports, "--no-cache"], cwd=house, capture_output=True, text=True, check=False, timeout=120
    )
    kept_or_broken = re.findall(r"^(.*) (KEPT|BROKEN)$", done.stdout, re.MULTILINE)
    assert kept_or_broken, done.stdout + done.stderr
    broken = [name for name, state in kept_or_broken if state == "BROKEN"]
    assert (done.returncode != 0) is bool(broken)
    return broken


@pytest.mark.parametrize(
    ("module", "turned_round", "contract"),
    [
        ("", "", ""),
        ("model/route.py", "import logstatsd.routing.router", "Arrows point down"),
        ("tail/plan.py", "import logstatsd.delivery.naming", "Arrows point down"),
        ("scan/entries.py", "import flask", "What a worker imports knows neither the app nor the terminal"),
        ("delivery/tally.py", "import click", "Only cli knows click"),
    ],
    ids=["as it is", "up", "sideways", "worker", "click"],
)
def test_an_import_that_is_turned_round_is_found(
    house: Path, need: Callable[[str], str], module: str, turned_round: str, contract: str
) -> None:
    if module:
        path = house / "logstatsd" / module
        path.write_text(path.read_text("utf-8") + f"\n{turned_round}\n")
    assert broken_contracts(house, need("lint-imports")) == ([contract] if contract else [])
