"""The command starts at once, whichever way it is started, and imports what it needs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from command import COMMAND, FLASK, invoke, modules, run
from cost import python_starts
from places import GOLDEN, SAMPLE_LOGS, SHOP

from logstatsd import __version__

HEAVY = {"datadog", "flask", "jinja2", "requests", "rich", "werkzeug"}
ROUTES = ("--routes", "routes.json")


def test_what_an_app_does_when_imported_does_not_matter(here: Path) -> None:
    done = run("report", "ten.log", "--app", "noisy", "--json")
    assert json.loads(done.stdout)["lines"] == 10
    assert "bye" not in done.stdout + done.stderr


def test_the_three_ways_to_start_it_are_the_same(here: Path) -> None:
    env = {"COLUMNS": "100"}
    args = ["report", str(SAMPLE_LOGS / "nginx.log")]
    flask = [*FLASK, "--app", SHOP, "logstatsd"]
    one = run(*args, "--app", SHOP, env=env)
    other = run(*args, "--app", SHOP, command=[sys.executable, "-m", "logstatsd"], env=env)
    third = run(*args, command=flask, env=env)
    assert one.stdout == (GOLDEN / "nginx-100.txt").read_text()
    assert (one.stdout, one.stderr) == (other.stdout, other.stderr) == (third.stdout, third.stderr)


def test_standard_input_is_a_log(here: Path) -> None:
    whole = Path("nginx.log").read_bytes()
    piped, named = (
        json.loads(invoke("report", name, *ROUTES, "--json", "-q", stdin=whole).stdout)
        for name in ("-", "nginx.log")
    )
    assert piped == named
    assert piped["lines"] == 3_000


def imported(*args: str) -> set[str]:
    """The packages that a command imports."""
    return {name.partition(".")[0] for name in modules(*args)}


@pytest.mark.measured
@pytest.mark.parametrize("args", ["--help", "--version", "report --help", "replay --help"])
def test_help_and_version_are_there_at_once(args: str, here: Path) -> None:
    assert not imported(*args.split()) & HEAVY
    assert python_starts([*COMMAND, *args.split()]) < 12


def test_version_and_help() -> None:
    assert invoke("--version").stdout == f"logstatsd, version {__version__}\n"
    assert invoke("-h").stdout == invoke("--help").stdout
    assert invoke(code=2).stderr.replace("\n", "").startswith("Usage: logstatsd [OPTIONS] COMMAND")


def test_a_report_imports_what_it_needs(here: Path) -> None:
    assert imported("report", "ten.log", *ROUTES) & HEAVY == {"rich"}
    assert not imported("report", "ten.log", *ROUTES, "--json") & HEAVY
    assert not imported("normalize", "ten.log", *ROUTES) & HEAVY


@pytest.mark.measured
def test_a_short_log_is_reported_at_once(here: Path) -> None:
    assert python_starts([*COMMAND, "report", "ten.log", *ROUTES]) < 24
    app = [sys.executable, "-c", "import tiny"]
    assert python_starts([*COMMAND, "report", "ten.log", "--app", "tiny"], without=app) < 12
