"""`routes`: what becomes of every rule, and a snapshot that stands in for the app."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import sample
from command import invoke
from places import SAMPLE_LOGS, SHOP
from sample import line

from logstatsd.formats.presets import FORMATS

if TYPE_CHECKING:
    from pathlib import Path

LOGS = ["nginx.log", "nginx.json.log", "gunicorn.log", "gunicorn_default.log"]
EVERY_LOG = pytest.mark.parametrize("name", LOGS)
APP = ("--app", SHOP)
NGINX = FORMATS["nginx"].log_format
NGINX_LOG = str(SAMPLE_LOGS / "nginx.log")


def test_the_map_is_listed(routes: Any) -> None:
    listed = json.loads(invoke("routes", *routes, "--json").stdout)
    assert listed["schema"] == 1
    rules = {rule["rule"]: rule for rule in listed["rules"]}
    assert set(rules) == {rule.rule for rule in sample.loaded().app.url_map.iter_rules()}
    assert rules["/api/products/sku/<sku:sku>"] == {
        "rule": "/api/products/sku/<sku:sku>", "endpoint": "api.catalog.by_sku",
        "methods": ["GET", "HEAD", "OPTIONS"], "converters": {"sku": "sku"},
        "custom": True, "websocket": False, "redirects": False,
    }  # fmt: skip
    table = invoke("routes", *routes, columns=200).stdout
    assert all(rule in table for rule in rules)
    assert "sku: sku (custom)" in table


def test_rules_have_the_requests_of_the_report(routes: Any) -> None:
    report = json.loads(invoke("report", NGINX_LOG, *routes, "--json", "--by", "rule").stdout)
    counts = {row["rule"]: row["requests"] for row in report["rows"] if row["outcome"] == "matched"}
    listed = json.loads(invoke("routes", NGINX_LOG, *routes, "--json").stdout)
    assert {rule["rule"]: rule["requests"] for rule in listed["rules"] if rule["requests"]} == counts


def test_rules_that_are_never_hit_are_shown_alone(routes: Any) -> None:
    log = line("/health") + line("/nope", 404)
    shown = json.loads(invoke("routes", "-", *routes, "--unused", "--json", stdin=log).stdout)
    rules = [rule["rule"] for rule in shown["rules"]]
    assert "/search" in rules
    assert "/health" not in rules
    assert "/shop/<int:product_id>" not in rules, "it redirects: no request is ever labelled with it"
    table = invoke("routes", "-", *routes, "--unused", stdin=log).stdout
    assert "never" in table
    assert "/nope" not in table
    everything = invoke("routes", "-", *routes, stdin=log).stdout
    assert "redirects" in everything
    assert "/nope" in everything


def test_where_every_rule_is_hit_nothing_is_listed(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(
        "from flask import Flask\napp = Flask('tiny', static_folder=None)\napp.add_url_rule('/x', 'x')\n"
    )
    done = invoke("routes", "-", "--app", f"{tmp_path / 'tiny.py'}:app", "--unused", stdin=line("/x"))
    assert done.stdout == ""
    assert "no rule is unused" in done.stderr


def test_what_the_apps_own_converter_refuses_is_among_the_unmatched() -> None:
    log = 2 * line("/api/coupons/welcome", 404) + line("/api/coupons/WELCOME")
    listed = json.loads(invoke("routes", "-", *APP, "--json", stdin=log).stdout)["unmatched"]
    assert listed == [{"target": "/api/coupons/welcome", "requests": 2}]


def test_unmatched_targets_are_listed_without_queries_and_cleaned(routes: Any) -> None:
    log = 3 * line("/wp-login.php?a=1") + 2 * line("/wp-login.php?b=2") + 2 * line(r"/\x1B[2J\xFF") + line()
    listed = json.loads(invoke("routes", "-", *routes, "--json", stdin=log).stdout)["unmatched"]
    assert listed == [
        {"target": "/wp-login.php", "requests": 5}, {"target": r"/\x1b[2J\xff", "requests": 2},
    ]  # fmt: skip
    assert "\x1b" not in invoke("routes", "-", *routes, stdin=log).stdout


def test_a_flood_of_unmatched_targets_keeps_the_top(routes: Any) -> None:
    log = b"".join(line(f"/x{n}") for n in range(5_000)) + 3 * line("/top")
    listed = json.loads(invoke("routes", "-", *routes, "--json", stdin=log).stdout)["unmatched"]
    assert len(listed) == 10
    assert listed[0] == {"target": "/top", "requests": 3}


# --- a snapshot stands in for the app ---------------------------------------------------------------------


@EVERY_LOG
def test_a_snapshot_gives_the_apps_report(name: str, tmp_path: Path) -> None:
    snapshot = str(tmp_path / "routes.json")
    invoke("routes", *APP, "-o", snapshot)
    log = str(SAMPLE_LOGS / name)
    unasked = invoke("report", log, *APP, "--json", "--no-converters").stdout
    assert invoke("report", log, "--routes", snapshot, "--json").stdout == unasked
    custom = (
        "--exclude",
        "*sku*",
        "--exclude",
        "*coupon*",
        "--exclude",
        "*market*",
        "--exclude",
        "unmatched",
    )
    mine, theirs = (
        json.loads(invoke("report", log, *way, "--json", *custom).stdout)
        for way in (("--routes", snapshot), APP)
    )
    assert mine["rows"] == theirs["rows"], "but for what custom converters refuse, it is the same"


def test_a_snapshot_is_stable(tmp_path: Path) -> None:
    for name in "ab":
        invoke("routes", *APP, "-o", str(tmp_path / name))
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()
    shutil.copy(tmp_path / "a", tmp_path / "c")
    assert invoke("routes", "--routes", str(tmp_path / "c"), "-o", "-").stdout == (tmp_path / "a").read_text()
