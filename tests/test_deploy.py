"""The files of docs/deploy, each given to the program that it is for."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from places import DOCS

if TYPE_CHECKING:
    from collections.abc import Callable

FILES = sorted((DOCS / "deploy").iterdir())


def test_every_file_is_in_the_table_and_the_other_way_round() -> None:
    linked = re.findall(r"\]\(deploy/([^)]+)\)", (DOCS / "deploy.md").read_text())
    assert sorted(linked) == [file.name for file in FILES]


def test_systemd_takes_the_units(need: Callable[[str], str], tmp_path: Path) -> None:
    """Verify the units as installed, but for the program, which must exist."""
    program = tmp_path / "logstatsd"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    units = []
    for file in FILES:
        if file.suffix in {".service", ".timer"}:
            units.append(tmp_path / file.name)
            units[-1].write_text(file.read_text().replace("/opt/shop/venv/bin/logstatsd", str(program)))
    verified = subprocess.run(
        [need("systemd-analyze"), "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert len(units) == 3
    assert (verified.returncode, verified.stderr) == (0, "")


def test_logrotate_takes_its_example(need: Callable[[str], str], tmp_path: Path) -> None:
    config = tmp_path / "logrotate.conf"
    text = (DOCS / "deploy" / "logrotate.conf").read_text().replace("/var/log/nginx", str(tmp_path))
    config.write_text(text.replace("www-data adm", f"{os.getuid()} {os.getgid()}"))
    (tmp_path / "access.log").write_text("a line\n")
    command = [need("logrotate"), "-d", "-f", "-s", str(tmp_path / "state"), str(config)]
    tried = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "error" not in tried.stderr
    assert f"renaming {tmp_path}/access.log to {tmp_path}/access.log.1" in tried.stderr


def test_the_crontab_has_the_form_of_cron_d() -> None:
    jobs = [
        line
        for line in (DOCS / "deploy" / "logstatsd.crontab").read_text().splitlines()
        if not line.startswith("#") and not re.match(r"\w+=", line)
    ]
    assert len(jobs) == 1
    assert re.fullmatch(r"(\S+ ){5}www-data logstatsd replay .* --resume .*-q", jobs[0])
    assert "%" not in jobs[0], "cron makes a newline of it"


def test_cron_runs_the_crontab(need: Callable[[str], str]) -> None:
    """Debian's cron takes the same lines without the user's name; `crontab -T` only checks."""
    lines = (DOCS / "deploy" / "logstatsd.crontab").read_text().replace(" www-data ", " ")
    help_text = subprocess.run([need("crontab"), "-h"], capture_output=True, text=True, check=False).stderr
    if "-T" not in help_text and "-n" not in help_text:
        pytest.skip("this crontab cannot check a file without installing it")
    check = "-T" if "-T" in help_text else "-n"
    subprocess.run(["crontab", check, "-"], input=lines, text=True, check=True, capture_output=True)


def test_the_sidecar_runs_what_the_service_runs() -> None:
    text = (DOCS / "deploy" / "Dockerfile").read_text()
    sidecar = [
        part
        for line in re.findall(r"^(?:ENTRYPOINT|CMD) (.*)", text, re.MULTILINE)
        for part in json.loads(line)
    ]
    service = (DOCS / "deploy" / "logstatsd-follow.service").read_text()
    program, *arguments = re.search(r"^ExecStart=(.*)", service, re.MULTILINE)[1].split()
    assert sidecar == [Path(program).name, *arguments]
