"""CONTRIBUTING.md, the Makefile, the hooks and the gate: that they agree, and that what they say works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from importlib import import_module
from typing import TYPE_CHECKING

import pytest
from places import ROOT, TESTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GUIDE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
GATE = (ROOT / ".ci" / "run").read_text("utf-8")
HOOKS = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
TARGETS = re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)
COMMANDS = [
    line.strip() for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) for line in block.splitlines()
]
COMMANDS = [command for command in COMMANDS if command]

TYPED_HERE = ["make docs", 'pytest tests/formats -k "preset or manual"']
SET_UP = [
    "git clone URL logstatsd",
    "cd logstatsd",
    "python3 -m venv .venv",
    ".venv/bin/pip install --upgrade pip",
    ".venv/bin/pip install -e '.[fast]' --group dev",
    "make test",
    ".venv/bin/pre-commit install",
]
"""What takes minutes, or the network; of these it is tested that each names what there is."""
FORMAT = "Add a log format: the two places"


def section(title: str) -> str:
    return GUIDE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def table(title: str) -> list[list[str]]:
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


def typed(command: str, folder: Path) -> str:
    """Type a command in a folder with a copy of the project; return what it prints."""
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def recipe(target: str) -> list[str]:
    """The commands of a target, those of what it depends on first."""
    return typed(f"make -s -n {target}", ROOT).splitlines()


# --- the tools agree --------------------------------------------------------------------------------------


def test_the_gate_and_make_check_run_the_same(need: Callable[[str], str]) -> None:
    need("make")
    _, _, after = GATE.partition("/activate\n")
    assert after.splitlines()[-1] == "make check"
    ran = recipe("check")
    assert {"ruff check .", "mypy", "lint-imports"} < set(ran)
    assert any("pytest --require-real" in command for command in ran)


def test_the_hooks_run_what_make_lint_runs_and_download_nothing(need: Callable[[str], str]) -> None:
    need("make")
    assert re.findall(r"entry: (.+)", HOOKS) == recipe("lint")
    assert re.findall(r"- repo: (.+)", HOOKS) == ["local"]
    assert set(re.findall(r"language: (.+)", HOOKS)) == {"system"}


@pytest.mark.parametrize(("active", "found"), [("", ".venv/bin"), ("/elsewhere", "/elsewhere/bin")])
def test_an_active_environment_goes_before_the_one_in_the_folder(
    active: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, need: Callable[[str], str]
) -> None:
    need("make")
    (tmp_path / "Makefile").write_text(f"{MAKEFILE}\nshow:\n\t@echo $$PATH\n")
    monkeypatch.setenv("PATH", os.pathsep.join([*[f"{active}/bin"] * bool(active), os.environ["PATH"]]))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    if active:
        monkeypatch.setenv("VIRTUAL_ENV", active)

    assert typed("make -s show", tmp_path).split(os.pathsep)[0].removeprefix(f"{tmp_path}/") == found


def test_every_target_is_listed_and_explained(need: Callable[[str], str]) -> None:
    need("make")
    listed = dict(re.findall(r"^make ([a-z-]+) +(\S.*)$", typed("make", ROOT), re.MULTILINE))

    assert re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE) == [" ".join(TARGETS)]
    assert list(listed) == TARGETS
    assert [cell.strip("`").removeprefix("make ") for cell, _ in table("Commands")] == TARGETS
    assert set(re.findall(r"`make ([a-z-]+)", GUIDE)) <= set(TARGETS)


def test_every_script_of_the_makefile_exists() -> None:
    scripts = re.findall(r"python (\S+)", MAKEFILE)

    assert len(scripts) >= 2
    assert [script for script in scripts if not (ROOT / script).is_file()] == []


def requirements(group: str) -> set[str]:
    found = set()
    for each in PROJECT["dependency-groups"][group]:
        found |= requirements(each["include-group"]) if isinstance(each, dict) else {each}
    return found


def test_the_groups_have_all_that_the_tests_of_users_and_of_the_gate_need() -> None:
    extra = set(PROJECT["project"]["optional-dependencies"]["test"])
    installed = re.search(r"'\.\[test,fast\]'(.*?)\n#", GATE.replace("\\\n", " "), re.DOTALL)
    assert installed
    names = {re.split(r"[>=; ]", each)[0] for each in requirements("dev")}

    assert extra <= requirements("dev")
    assert set(installed[1].replace("'", "").split()) <= names


# --- the guide --------------------------------------------------------------------------------------------


def test_every_command_of_the_guide_is_typed_here_or_known_to_be_long() -> None:
    assert sorted(set(COMMANDS)) == sorted([*TYPED_HERE, *SET_UP])
    assert "dev" in PROJECT["dependency-groups"]
    assert "fast" in PROJECT["project"]["optional-dependencies"]


def test_a_log_format_is_added_in_two_places(tmp_path: Path, need: Callable[[str], str]) -> None:
    need("make")
    for folder in ("logstatsd", "docs", "tests", "sample_logs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / file, tmp_path)
    ((entry, name),) = re.findall(r'^ +(_nginx\("(.+?)".+,)$', section(FORMAT), re.MULTILINE)
    presets, manual = tmp_path / "logstatsd/formats/presets.py", tmp_path / "docs/formats.md"
    table_start = "\n_PRESETS = (\n"
    presets.write_text(presets.read_text().replace(table_start, f"{table_start}    {entry}\n"))

    before = manual.read_text().splitlines()
    typed(TYPED_HERE[0], tmp_path)
    added = [line for line in manual.read_text().splitlines() if line not in before]
    out = typed(f"{TYPED_HERE[1]} -v", tmp_path)

    assert [line.split(" | ")[0] for line in added] == [f"| `{name}`"]
    assert f"[{name}] PASSED" in out
    assert "test_the_manual_has_the_tables_of_the_code PASSED" in out


@pytest.mark.parametrize("cell", [row[2] for row in table("Add something else")])
def test_what_is_added_to_is_a_table(cell: str) -> None:
    name, path = re.findall(r"`([^`]+)`", cell)
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    assert isinstance(getattr(import_module(module), name), dict)


def test_every_seam_that_a_test_shows_is_in_the_guide() -> None:
    shown = set(re.findall(r'\.([A-Z]+)\["\w+"\] = ', (TESTS / "test_seams.py").read_text("utf-8")))

    assert len(shown) >= 7
    assert shown <= {row[2].split("`")[1] for row in table("Add something else")}


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:[\w.]+/)+[\w.]*)`", GUIDE))))
def test_every_path_in_the_guide_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_tests_mirror_the_rooms() -> None:
    folders = {path.name for path in TESTS.iterdir() if path.is_dir()} - {"golden", "support", "__pycache__"}

    assert folders <= {path.name for path in (ROOT / "logstatsd").iterdir() if path.is_dir()}
