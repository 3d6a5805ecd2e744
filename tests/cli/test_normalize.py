"""`normalize`: every line of a log in its place, with its rule."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from command import invoke
from places import SAMPLE_LOGS, SHOP
from sample import line

from logstatsd.formats.presets import FORMATS

LOGS = ["nginx.log", "nginx.json.log", "gunicorn.log", "gunicorn_default.log"]
EVERY_LOG = pytest.mark.parametrize("name", LOGS)
APP = ("--app", SHOP)
NGINX = FORMATS["nginx"].log_format
NGINX_LOG = str(SAMPLE_LOGS / "nginx.log")


def normalized(*args: str, stdin: bytes = b"") -> list[dict[str, Any]]:
    return [json.loads(line) for line in invoke("normalize", *args, stdin=stdin).stdout.splitlines()]


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
        invoke("report", log, *APP, "--json", "--by", "rule", "--by", "method", "--by", "status").stdout
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
    logged = line("/users/j%C3%BC?q=1", offset="+0530")
    (good, bad) = normalized("-", *APP, "--target", stdin=logged + b"junk\n")
    assert good == {
        "file": "-", "offset": 0, "time": "2026-11-22T13:25:15+05:30", "method": "GET", "rule": "(unmatched)",
        "endpoint": None, "outcome": "unmatched", "status": 200, "duration_us": 1_000,
        "target": "/users/j%C3%BC?q=1",
    }  # fmt: skip
    assert bad == {"file": "-", "offset": len(logged), "rejected": "no match"}
    assert datetime.fromisoformat(good["time"]).utcoffset() is not None


def test_a_compressed_log_and_a_pipe_have_the_offsets_of_the_plain_log(routes: Any, tmp_path: Path) -> None:
    plain = normalized(NGINX_LOG, *routes)
    data = Path(NGINX_LOG).read_bytes()
    (tmp_path / "nginx.log.gz").write_bytes(gzip.compress(data, 1))
    for name, stdin in ((str(tmp_path / "nginx.log.gz"), b""), ("-", data)):
        assert [{**entry, "file": ""} for entry in normalized(name, *routes, stdin=stdin)] == [
            {**entry, "file": ""} for entry in plain
        ]


def test_a_window_leaves_lines_out() -> None:
    entries = normalized(NGINX_LOG, *APP)
    since = entries[1_000]["time"]
    later = normalized(NGINX_LOG, *APP, "--since", since)
    assert [e["offset"] for e in later if "time" in e] == [
        e["offset"] for e in entries if "time" in e and e["time"] >= since
    ]


def test_excluded_rules_are_left_out_and_counted(routes: Any) -> None:
    done = invoke("normalize", NGINX_LOG, *routes, "--exclude", "/api/*", "--exclude", "pages.health")
    rules = [json.loads(text).get("rule") or "" for text in done.stdout.splitlines()]
    assert "/search" in rules
    assert not [rule for rule in rules if rule.startswith("/api/") or rule == "/health"]
    assert f"{3_000 - len(rules):,} requests excluded\n" in done.stderr


def test_what_could_not_be_proven_is_said(routes: Any) -> None:
    said = invoke("normalize", NGINX_LOG, *routes).stderr
    assert "requests keep a rule whose converters were not asked" in said
    assert invoke("normalize", NGINX_LOG, *routes, "-q").stderr == ""
    assert "keep a rule" not in invoke("normalize", NGINX_LOG, *APP).stderr
