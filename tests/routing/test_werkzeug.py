"""Werkzeug's own routing tests, of the release that is installed, with a Router asked beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from places import ROOT, SUPPORT
from referee import REPORT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.network]

CASES = 150


def routing_tests(config: pytest.Config) -> Path:
    """Werkzeug's tests/test_routing.py, from its sdist; kept for the next run."""
    release = version("werkzeug")
    assert config.cache is not None
    directory = config.cache.mkdir(f"werkzeug-{release}")
    kept = directory / "test_routing.py"
    if kept.is_file():
        return kept
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    done = subprocess.run(
        [*command, "--dest", str(directory), f"werkzeug=={release}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        missing = f"the sdist of werkzeug {release} cannot be had: {done.stderr.strip()[-200:]}"
        if config.getoption("--require-real", default=False):
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    with tarfile.open(next(directory.glob("*.tar.gz"))) as sdist:
        member = next(name for name in sdist.getnames() if name.endswith("/tests/test_routing.py"))
        file = sdist.extractfile(member)
        assert file is not None
        kept.write_bytes(file.read())
    return kept


def test_router_agrees_on_every_case_of_werkzeug(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    source = tmp_path / "test_routing.py"
    source.write_bytes(routing_tests(pytestconfig).read_bytes())
    path = os.pathsep.join([str(SUPPORT), str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "referee", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--noconftest", "-c", os.devnull, "-W", "ignore", str(source)],
        check=False,
        env={**os.environ, REPORT: str(report), "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    said = json.loads(report.read_text())
    assert said["differences"] == []
    assert said["compared"] >= CASES
