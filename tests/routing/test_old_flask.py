"""Flask before 3.1 matches by host where SERVER_NAME is set: the labels, and a log that has no hosts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.network]

RELEASES = {"3.0.3": "3.0.6", "2.3.3": "2.3.8", "2.2.5": "2.2.3"}
"""Flask, and the Werkzeug that goes with it."""

APP = """
from flask import Flask
app = Flask("shop", static_folder=None)
app.config["SERVER_NAME"] = "shop.test"
app.add_url_rule("/x/<int:n>", "x", lambda n: "")
"""
HOSTS = ("shop.test", "other.test", "api.shop.test", "shop.test:80", "a..b")


@pytest.fixture(params=RELEASES)
def packages(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder with an old Flask, kept for the next run; it goes before what is installed."""
    flask = str(request.param)
    directory = request.config.cache.mkdir(f"flask-{flask}")  # type: ignore[union-attr]
    if not (directory / "flask").is_dir():
        wanted = [f"flask=={flask}", f"werkzeug=={RELEASES[flask]}"]
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(directory), *wanted]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            missing = f"flask {flask} cannot be had: {done.stderr.strip()[-200:]}"
            if request.config.getoption("--require-real"):
                pytest.fail(missing, pytrace=False)
            pytest.skip(missing)
    yield directory


def run(directory: Path, packages: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(packages), "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=True, timeout=60
    )


def test_a_foreign_host_matches_nothing_where_the_log_has_hosts(packages: Path, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP)
    served = "import json, sys\nfrom shop import app\nimport flask\n"
    served += (
        "def served(host):\n    with app.test_request_context('/x/7', headers={'Host': host}) as context:\n"
    )
    served += "        return bool(context.request.url_rule)\n"
    served += f"print(json.dumps([served(host) for host in {HOSTS!r}]))"
    truth = json.loads(run(tmp_path, packages, sys.executable, "-c", served).stdout)
    asked = '"GET /x/7 HTTP/1.1" 200 2 0.001'
    (tmp_path / "hosts.log").write_text("".join(f"{host} {asked}\n" for host in HOSTS))
    (tmp_path / "none.log").write_text(f"{asked}\n")

    told = ("--app", "shop", "--log-format", '$http_host "$request" $status $body_bytes_sent $request_time')
    found = run(tmp_path, packages, "logstatsd", "normalize", "hosts.log", *told).stdout.splitlines()
    assert [json.loads(line)["outcome"] == "matched" for line in found] == truth

    told = ("--app", "shop", "--log-format", '"$request" $status $body_bytes_sent $request_time')
    done = run(tmp_path, packages, "logstatsd", "report", "none.log", *told, "--json")
    assert json.loads(done.stdout)["rows"][0]["rule"] == "/x/<int:n>"
    assert "SERVER_NAME (shop.test)" in done.stderr
    assert "match nothing" not in done.stderr
