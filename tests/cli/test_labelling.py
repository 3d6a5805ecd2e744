"""Warnings where labels are likely to be wrong: another app, a prefix, a factory without its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from command import invoke
from places import SAMPLE_LOGS, SHOP

if TYPE_CHECKING:
    from pathlib import Path

LOG = SAMPLE_LOGS / "nginx.log"
OTHER = 'from flask import Flask\napp = Flask("other")\napp.add_url_rule("/x/<int:i>", "x", str)\n'


@pytest.mark.parametrize("command", [["report"], ["replay", "-n"]], ids=" ".join)
def test_another_app_is_told_in_one_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.py").write_text(OTHER)
    monkeypatch.chdir(tmp_path)
    said = invoke(*command, LOG, "--app", "other:app").stderr.splitlines()
    (told,) = [line for line in said if "match no rule" in line]
    assert told.startswith(
        "98 % of 2,982 requests match no rule of the app 'other', though 80 % of them were"
    )
    assert told.endswith("is another app served, or was its factory called here without its settings?")


def test_a_prefix_is_found_by_trying_it(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(LOG.read_bytes().replace(b" /", b" /shop/"))
    assert "they fit with --strip-prefix /shop\n" in invoke("report", log, "--app", SHOP).stderr
    assert "--strip-prefix" not in invoke("report", log, "--app", SHOP, "--strip-prefix", "/shop").stderr


def test_an_app_without_rules_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bare.py").write_text('from flask import Flask\napp = Flask("bare")\n')
    (tmp_path / "access.log").write_bytes(b"".join(LOG.read_bytes().splitlines(keepends=True)[:5]))
    monkeypatch.chdir(tmp_path)
    said = invoke("report", "access.log", "--app", "bare:app").stderr
    assert "the app 'bare' has no rules but for static files" in said


def test_the_right_app_is_told_nothing() -> None:
    assert "rule of the app" not in invoke("report", LOG, "--app", SHOP).stderr
