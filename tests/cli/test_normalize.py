"""`normalize` and `routes`: every line in its place with its rule, and what becomes of every rule."""

from __future__ import annotations

import gzip
import json
import shutil
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sample
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from places import SAMPLE_LOGS, SHOP

from logstatsd.cli import cli
from logstatsd.formats.known import FormatChoice
from logstatsd.formats.presets import FORMATS
from logstatsd.model.route import Route
from logstatsd.routing.snapshot import dump_snapshot
from logstatsd.scan.entries import StretchReader
from logstatsd.scan.jsonlines import as_line
from logstatsd.scan.scanner import Scanner
from logstatsd.sources.lines import LINE_LIMIT

if TYPE_CHECKING:
    from click.testing import Result

LOGS = ["nginx.log", "nginx.json.log", "gunicorn.log", "gunicorn_default.log"]
EVERY_LOG = pytest.mark.parametrize("name", LOGS)
APP = ("--app", SHOP)
NGINX = FORMATS["nginx"].log_format
NGINX_LOG = str(SAMPLE_LOGS / "nginx.log")


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """`--routes FILE` for the sample app."""
    path = tmp_path_factory.mktemp("routes") / "routes.json"
    path.write_text(dump_snapshot(sample.loaded().snapshot()))
    return "--routes", str(path)


def call(*args: str, stdin: bytes = b"") -> Result:
    done = CliRunner().invoke(cli, args, input=stdin, prog_name="logstatsd")
    assert done.exit_code == 0, done.stderr
    return done


def normalized(*args: str, stdin: bytes = b"") -> list[dict[str, Any]]:
    return [json.loads(line) for line in call("normalize", *args, stdin=stdin).stdout.splitlines()]


def line(target: str = "/health", status: int = 200, took: str = "0.001") -> bytes:
    return (
        f'192.0.2.7 - - [22/Nov/2026:13:25:15 +0530] "GET {target} HTTP/1.1" {status} 2 "-" "-" {took}\n'
    ).encode()


# --- normalize --------------------------------------------------------------------------------------------


@EVERY_LOG
def test_every_line_has_an_object_in_order_at_its_offset(name: str) -> None:
    data = (SAMPLE_LOGS / name).read_bytes()
    found = normalized(str(SAMPLE_LOGS / name), *APP, "--jobs", "2")
    lines = data.splitlines(keepends=True)
    assert len(found) == len(lines)
    for entry, expected in zip(found, lines, strict=True):
        assert data[entry["offset"] :].startswith(expected)
        assert entry["file"] == str(SAMPLE_LOGS / name)
        if "rejected" not in entry:
            assert str(entry["status"]).encode() in expected


@EVERY_LOG
def test_the_counts_are_those_of_the_report(name: str) -> None:
    log = str(SAMPLE_LOGS / name)
    found = normalized(log, *APP)
    report = json.loads(
        call("report", log, *APP, "--json", "--by", "rule", "--by", "method", "--by", "status").stdout
    )
    keys = ("rule", "endpoint", "outcome", "method", "status")
    counted = Counter(tuple(entry[key] for key in keys) for entry in found if "rejected" not in entry)
    assert counted == {tuple(row[key] for key in keys): row["requests"] for row in report["rows"]}
    assert Counter(entry["rejected"] for entry in found if "rejected" in entry) == report["rejections"]
    assert sum(entry.get("duration_us") or 0 for entry in found) == sum(
        row["total_us"] for row in report["rows"]
    )


def test_what_only_the_app_can_tell_is_told() -> None:
    found = {entry["target"]: entry for entry in normalized(NGINX_LOG, *APP, "--target") if "target" in entry}
    assert found["/api/products/sku/AB-1234-0"]["rule"] == "/api/products/sku/<sku:sku>"
    wrong = [target for target in found if target.startswith("/api/coupons/")]
    assert {found[target]["outcome"] for target in wrong} == {"matched", "unmatched"}


def test_the_names_are_those_that_are_promised() -> None:
    (good, bad) = normalized("-", *APP, "--target", stdin=line("/users/j%C3%BC?q=1") + b"junk\n")
    assert good == {
        "file": "-", "offset": 0, "time": "2026-11-22T13:25:15+05:30", "method": "GET", "rule": "(unmatched)",
        "endpoint": None, "outcome": "unmatched", "status": 200, "duration_us": 1_000,
        "target": "/users/j%C3%BC?q=1",
    }  # fmt: skip
    assert bad == {"file": "-", "offset": len(line("/users/j%C3%BC?q=1")), "rejected": "no match"}
    assert datetime.fromisoformat(good["time"]).utcoffset() is not None


def test_a_compressed_log_and_a_pipe_have_the_offsets_of_the_plain_log(routes: Any, tmp_path: Path) -> None:
    plain = normalized(NGINX_LOG, *routes)
    data = Path(NGINX_LOG).read_bytes()
    (tmp_path / "nginx.log.gz").write_bytes(gzip.compress(data, 1))
    for name, stdin in ((str(tmp_path / "nginx.log.gz"), b""), ("-", data)):
        assert [{**entry, "file": ""} for entry in normalized(name, *routes, stdin=stdin)] == [
            {**entry, "file": ""} for entry in plain
        ]


KINDS = [
    line(), line("/nope", 404), line(took="-"), line(took="nan"), line().replace(b"\n", b"\r\n"),
    b"\n", b"junk\n", b"x" * (LINE_LIMIT + 1) + b"\n", line("/" + "x" * (3 * LINE_LIMIT)),
]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(KINDS), max_size=12), st.booleans(), st.integers(0, 10**12))
def test_entries_and_tallies_agree_on_every_mix(lines: list[bytes], ended: bool, offset: int) -> None:
    data = b"".join(lines)
    data = data if ended else data.removesuffix(b"\n")
    entries = [
        entry for entry, _ in StretchReader(FormatChoice(NGINX), sample.router()).entries(data, offset)
    ]
    batch = Scanner(NGINX, sample.router()).scan(data)
    assert [entry.offset - offset for entry in entries] == [
        sum(map(len, lines[:n])) for n in range(len(data.splitlines()))
    ]
    assert Counter(entry.rejected for entry in entries if entry.rejected) == batch.counts.rejected
    counts = {(one.route, one.method, one.status): sum(n.values()) for one, n in batch.timings.items()}
    assert Counter((e.route, e.method, e.status) for e in entries if not e.rejected) == counts


def test_a_window_leaves_lines_out() -> None:
    entries = normalized(NGINX_LOG, *APP)
    since = entries[1_000]["time"]
    later = normalized(NGINX_LOG, *APP, "--since", since)
    assert [e["offset"] for e in later if "time" in e] == [
        e["offset"] for e in entries if "time" in e and e["time"] >= since
    ]


def test_excluded_rules_are_left_out_and_counted(routes: Any) -> None:
    done = call("normalize", NGINX_LOG, *routes, "--exclude", "/api/*", "--exclude", "pages.health")
    rules = [json.loads(text).get("rule") or "" for text in done.stdout.splitlines()]
    assert "/search" in rules
    assert not [rule for rule in rules if rule.startswith("/api/") or rule == "/health"]
    assert f"{3_000 - len(rules):,} requests excluded\n" in done.stderr


def test_what_could_not_be_proven_is_said(routes: Any) -> None:
    said = call("normalize", NGINX_LOG, *routes).stderr
    assert "requests keep a rule whose converters were not asked" in said
    assert call("normalize", NGINX_LOG, *routes, "-q").stderr == ""
    assert "keep a rule" not in call("normalize", NGINX_LOG, *APP).stderr


@given(st.text(), st.text(), st.binary(max_size=50))
def test_every_object_is_json_on_one_line(path: str, rule: str, target: bytes) -> None:
    ((entry, _),) = StretchReader(FormatChoice(NGINX), sample.router()).entries(line())
    text = as_line(path, entry._replace(target=target), Route(rule, rule, "matched"), target=True)
    assert text.count("\n") == 1
    assert text.isascii()
    assert json.loads(text)["rule"] == rule
    assert json.loads(text)["file"] == path


# --- routes -----------------------------------------------------------------------------------------------


def test_the_map_is_listed(routes: Any) -> None:
    listed = json.loads(call("routes", *routes, "--json").stdout)
    assert listed["schema"] == 1
    rules = {rule["rule"]: rule for rule in listed["rules"]}
    assert set(rules) == {rule.rule for rule in sample.loaded().app.url_map.iter_rules()}
    assert rules["/api/products/sku/<sku:sku>"] == {
        "rule": "/api/products/sku/<sku:sku>", "endpoint": "api.catalog.by_sku",
        "methods": ["GET", "HEAD", "OPTIONS"], "converters": {"sku": "sku"},
        "custom": True, "websocket": False, "redirects": False,
    }  # fmt: skip
    table = call("routes", *routes).stdout
    assert all(rule in table for rule in rules)
    assert "sku: sku (custom)" in table


def test_rules_have_the_requests_of_the_report(routes: Any) -> None:
    report = json.loads(call("report", NGINX_LOG, *routes, "--json", "--by", "rule").stdout)
    counts = {row["rule"]: row["requests"] for row in report["rows"] if row["outcome"] == "matched"}
    listed = json.loads(call("routes", NGINX_LOG, *routes, "--json").stdout)
    assert {rule["rule"]: rule["requests"] for rule in listed["rules"] if rule["requests"]} == counts


def test_rules_that_are_never_hit_are_shown_alone(routes: Any) -> None:
    log = line("/health") + line("/nope", 404)
    shown = json.loads(call("routes", "-", *routes, "--unused", "--json", stdin=log).stdout)
    rules = [rule["rule"] for rule in shown["rules"]]
    assert "/search" in rules
    assert "/health" not in rules
    assert "/shop/<int:product_id>" not in rules, "it redirects: no request is ever labelled with it"
    table = call("routes", "-", *routes, "--unused", stdin=log).stdout
    assert "never" in table
    assert "/nope" not in table
    everything = call("routes", "-", *routes, stdin=log).stdout
    assert "redirects" in everything
    assert "/nope" in everything


def test_where_every_rule_is_hit_nothing_is_listed(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(
        "from flask import Flask\napp = Flask('tiny', static_folder=None)\napp.add_url_rule('/x', 'x')\n"
    )
    done = call("routes", "-", "--app", f"{tmp_path / 'tiny.py'}:app", "--unused", stdin=line("/x"))
    assert done.stdout == ""
    assert "no rule is unused" in done.stderr


def test_what_the_apps_own_converter_refuses_is_among_the_unmatched() -> None:
    log = 2 * line("/api/coupons/welcome", 404) + line("/api/coupons/WELCOME")
    listed = json.loads(call("routes", "-", *APP, "--json", stdin=log).stdout)["unmatched"]
    assert listed == [{"target": "/api/coupons/welcome", "requests": 2}]


def test_unmatched_targets_are_listed_without_queries_and_cleaned(routes: Any) -> None:
    log = 3 * line("/wp-login.php?a=1") + 2 * line("/wp-login.php?b=2") + 2 * line(r"/\x1B[2J\xFF") + line()
    listed = json.loads(call("routes", "-", *routes, "--json", stdin=log).stdout)["unmatched"]
    assert listed == [
        {"target": "/wp-login.php", "requests": 5}, {"target": r"/\x1b[2J\xff", "requests": 2},
    ]  # fmt: skip
    assert "\x1b" not in call("routes", "-", *routes, stdin=log).stdout


def test_a_flood_of_unmatched_targets_keeps_the_top(routes: Any) -> None:
    log = b"".join(line(f"/x{n}") for n in range(5_000)) + 3 * line("/top")
    listed = json.loads(call("routes", "-", *routes, "--json", stdin=log).stdout)["unmatched"]
    assert len(listed) == 10
    assert listed[0] == {"target": "/top", "requests": 3}


# --- a snapshot stands in for the app ---------------------------------------------------------------------


@EVERY_LOG
def test_a_snapshot_gives_the_apps_report(name: str, tmp_path: Path) -> None:
    snapshot = str(tmp_path / "routes.json")
    call("routes", *APP, "-o", snapshot)
    log = str(SAMPLE_LOGS / name)
    unasked = call("report", log, *APP, "--json", "--no-converters").stdout
    assert call("report", log, "--routes", snapshot, "--json").stdout == unasked
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
        json.loads(call("report", log, *way, "--json", *custom).stdout)
        for way in (("--routes", snapshot), APP)
    )
    assert mine["rows"] == theirs["rows"], "but for what custom converters refuse, it is the same"


def test_a_snapshot_is_stable(tmp_path: Path) -> None:
    for name in "ab":
        call("routes", *APP, "-o", str(tmp_path / name))
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()
    shutil.copy(tmp_path / "a", tmp_path / "c")
    assert call("routes", "--routes", str(tmp_path / "c"), "-o", "-").stdout == (tmp_path / "a").read_text()
