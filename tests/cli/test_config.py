"""Options come from the command line, else from the environment, else from a file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from command import FLASK, invoke, run

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUTES = ("--routes", "routes.json")


@pytest.fixture
def configured(here: Path) -> Iterator[Any]:
    """Write configuration files; they are gone after the test."""
    written = []

    def write(text: str, name: str = "logstatsd.toml") -> None:
        written.append(Path(name))
        Path(name).write_text(text)

    yield write
    for path in written:
        path.unlink()


def grouped_by(*args: str) -> set[str]:
    done = invoke("report", "ten.log", "--json", *args)
    return {"rule", "endpoint", "method", "status"} & set(json.loads(done.stdout)["rows"][0])


def test_a_flag_beats_the_environment_beats_the_file(
    configured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert grouped_by(*ROUTES) == {"rule", "endpoint", "method"}
    configured('by = ["method"]\n')
    assert grouped_by(*ROUTES) == {"method"}
    monkeypatch.setenv("LOGSTATSD_BY", "status")
    assert grouped_by(*ROUTES) == {"status"}
    assert grouped_by(*ROUTES, "--by", "endpoint") == {"endpoint"}


@pytest.mark.parametrize("name", ["logstatsd.toml", "pyproject.toml"])
def test_a_file_may_name_the_app_and_speak_to_one_command(name: str, configured: Any) -> None:
    head, table = (
        ("", "report") if name == "logstatsd.toml" else ("[tool.logstatsd]", "tool.logstatsd.report")
    )
    configured(
        f'{head}\napp = "tiny"\nexclude = "health"\n[{table}]\ncsv = true\nlog-format = "nginx"\n', name
    )
    done = invoke("report", "ten.log", "-q")
    assert done.stdout.startswith("rule,endpoint,")
    assert invoke("routes", "-q").stdout.count("/health") == 1


def test_a_pyproject_of_others_is_passed_over(configured: Any) -> None:
    configured('[project]\nname = "shop"\n', "pyproject.toml")
    assert grouped_by(*ROUTES) == {"rule", "endpoint", "method"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nope = 1", "there is no option --nope"),
        ("[report]\nport = 8125", "report has no option --port"),
        ("[nope]\nby = 1", "there is no option --nope"),
        ("by = [", "logstatsd.toml: "),
        ("json = 1", "json must be true or false"),
        ("json = []", "json must be true or false"),
        ("json = 2026-11-24", "json must be true or false"),
        ("[report]\njson = {}", "report.json must be true or false"),
        ("by = [[1]]", "by must be a text or a number, or a list of them"),
        ("exclude = true", "exclude must be a text or a number, or a list of them"),
        ("jobs = [1]", "jobs must be a text or a number\n"),
        ("jobs = 2026-11-24T10:00:00Z", "jobs must be a text or a number\n"),
        ("jobs = {a = 1}", "jobs must be a text or a number\n"),
        ("jobs = true", "jobs must be a text or a number\n"),
        ("jobs = 0x" + "f" * 5_000, "jobs cannot be read: it is too long"),
        ("jobs = " + "9" * 5_000, "logstatsd.toml: "),
        ('routes = "a\\u0000b"', "routes cannot be read"),
        ("max-rejected = nan", "nan"),
        ("report = 5", "there is no option --report"),
        ("by = " + "[" * 5_000, "logstatsd.toml: "),
    ],
)
def test_a_mistake_in_the_file_is_one_line(text: str, words: str, configured: Any) -> None:
    configured(text)
    done = invoke("report", "ten.log", *ROUTES, code=2)
    assert done.stdout == ""
    assert re.fullmatch(r"logstatsd: .*\n", done.stderr)
    assert words in done.stderr


def test_a_file_that_is_not_utf_8_or_a_folder_is_one_line(here: Path) -> None:
    path = Path("logstatsd.toml")
    path.write_bytes(b"by = '\xff'\n")
    assert re.fullmatch(r"logstatsd: .*\n", invoke("report", "ten.log", *ROUTES, code=2).stderr)
    path.unlink()
    path.mkdir()
    done = invoke("report", "ten.log", *ROUTES, code=2)
    path.rmdir()
    assert done.stderr == "logstatsd: logstatsd.toml: cannot be read: Is a directory\n"


def test_a_configuration_that_is_named_has_to_be_there(here: Path) -> None:
    done = invoke("--config", "missing.toml", "report", "ten.log", *ROUTES, code=2)
    assert done.stderr == "logstatsd: missing.toml: no such file; --config names the configuration to read\n"


def test_a_configuration_that_cannot_be_read_is_one_line(here: Path) -> None:
    done = invoke("--config", "folder", "report", "ten.log", *ROUTES, code=2)
    assert done.stderr == "logstatsd: folder: cannot be read: Is a directory\n"


def test_a_table_of_a_pyproject_has_to_be_one(configured: Any) -> None:
    configured("[tool]\nlogstatsd = 1\n", "pyproject.toml")
    done = invoke("report", "ten.log", *ROUTES, code=2)
    assert done.stderr.endswith("pyproject.toml: tool.logstatsd must be a table\n")


def test_a_variable_that_is_misspelt_is_pointed_out(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGSTATSD_EXCLUD", "/health")
    said = invoke("report", "ten.log", *ROUTES).stderr
    assert "LOGSTATSD_EXCLUD: no option reads this variable; did you mean LOGSTATSD_EXCLUDE?\n" in said


def test_what_names_the_app_on_the_command_line_beats_the_rest(
    configured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured('app = "raises"\n')
    invoke("report", "ten.log", *ROUTES)
    monkeypatch.setenv("LOGSTATSD_ROUTES", "routes.json")
    invoke("report", "ten.log")
    monkeypatch.setenv("LOGSTATSD_APP", "raises")
    assert "give one of them" in invoke("report", "ten.log", code=2).stderr
    flask = [*FLASK, "--app", "tiny", "logstatsd"]
    monkeypatch.delenv("LOGSTATSD_ROUTES")
    run("report", "ten.log", command=flask)


@pytest.mark.parametrize(("value", "start"), [("1", "{"), ("true", "{"), ("0", "rule  "), ("", "rule  ")])
def test_the_environment_may_set_a_flag(value: str, start: str, here: Path) -> None:
    done = run("report", "ten.log", *ROUTES, env={"LOGSTATSD_JSON": value})
    assert done.stdout.startswith(start)


@pytest.mark.parametrize("name", ["LOGSTATSD_APP", "FLASK_APP"])
def test_the_environment_may_name_the_app(name: str, here: Path) -> None:
    assert run("report", "ten.log", env={name: "tiny"}).returncode == 0
