"""Whatever is in a snapshot, it is refused in one line, or labels requests without a crash."""

from __future__ import annotations

import copy
import json
import random
from typing import TYPE_CHECKING, Any

import odd_app
import pytest

from logstatsd.errors import AppError
from logstatsd.model.route import Undecided
from logstatsd.routing import app as apps
from logstatsd.routing.router import Router
from logstatsd.routing.snapshot import dump_snapshot, read_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SNAPSHOTS = [
    apps.from_object(odd_app.APPS[name]).snapshot() for name in ("odd", "hosts", "subdomains", "mounted")
]
ABSURD: list[Any] = [
    None, True, 0, -1, 7, 10**30, 1.5, float("inf"), float("-inf"), float("nan"), "", "x", "\ud800", "\x00\n",
    "(" * 500, "(?P<a>)(?P<a>)", "x{99999999999}", "(?i)" * 99, [], [[]], [7], ["x"] * 3, {}, {"x": []},
    [None], ["\udc00"], [{}], "é" * 5_000, [""] * 5_000,
]  # fmt: skip
REQUESTS = [
    ("GET", b"/", "www.test"), ("POST", b"/int/small/3", ""), ("GET", b"/float/signed/-1.5", "x"),
    ("GET", b"/custom/even/2/more", "api.test:8080"), ("PUT", b"/shop/items/7", "a" * 300 + ".test"),
    ("GET", b"/files/a/v7", "a..b"), ("GET", b"/x/7", "ann.blog.test"), ("GET", b"//" * 2_000, "\xff.test"),
    ("GET", b"/pages/1", "7.ann.test"), ("GET", b"/a" * 1_500, "api.shop.test"),
]  # fmt: skip


def places(item: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a snapshot where something stands."""
    yield path
    inner = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def changed(snapshot: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    snapshot = copy.deepcopy(snapshot)
    *outer, last = path
    place = snapshot
    for key in outer:
        place = place[key]
    if value is ABSURD:
        del place[last]
    else:
        place[last] = value
    return snapshot


def tried(text: str, path: Path) -> str:
    """Read a snapshot; return the error, or "" if it is taken, and then it works."""
    path.write_text(text, encoding="utf-8")
    try:
        router = Router(read_snapshot(path))
    except AppError as error:
        return str(error)
    for method, target, host in REQUESTS:
        for websocket in (False, True):
            answer = router.walk(method, target, host, websocket)
            route = answer.fallback if isinstance(answer, Undecided) else answer
            for said in (route.rule, route.endpoint or "", router.clean_method(method)):
                said.encode()
    for info in router.rules:
        " ".join(
            [*(info.methods or ()), info.rule, info.endpoint, *(c.name + c.variable for c in info.converters)]
        )
    assert (router.app_name + "".join(router.hosts)).encode() is not None
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_absurd_content_is_one_line_or_harmless(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    refused = 0
    for snapshot in SNAPSHOTS:
        spots = list(places(snapshot))
        for _ in range(100):
            text = json.dumps(changed(snapshot, dice.choice(spots), dice.choice([*ABSURD, ABSURD])))
            said = tried(text, tmp_path / "routes.json")
            refused += bool(said)
            assert "\n" not in said
            assert len(said) < 500
            assert not said or "logstatsd routes" in said
    assert refused > 100


def test_what_was_not_touched_is_taken(tmp_path: Path) -> None:
    for snapshot in SNAPSHOTS:
        assert tried(dump_snapshot(snapshot), tmp_path / "routes.json") == ""


@pytest.mark.parametrize("version", [2, 99, 10**40])
def test_a_newer_version_says_what_to_do(version: int, tmp_path: Path) -> None:
    said = tried(json.dumps({**SNAPSHOTS[0], "logstatsd_routes": version}), tmp_path / "routes.json")
    assert said.startswith(f"{tmp_path / 'routes.json'}: made by a newer logstatsd (routes of version ")
    assert "upgrade logstatsd here, or make it again with `logstatsd routes" in said
    assert len(said) < 500


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", None, [], "x" * 10_000])
def test_another_version_is_not_understood(version: object, tmp_path: Path) -> None:
    said = tried(json.dumps({**SNAPSHOTS[0], "logstatsd_routes": version}), tmp_path / "routes.json")
    assert " of the routes is not understood, only 1; make it again" in said
    assert len(said) < 500


@pytest.mark.parametrize("text", ["\ufeff{}", "{" * 100_000, "[" * 100_000, "1" * 10_000, "NaN", "\x00", ""])
def test_what_is_no_snapshot_at_all_is_one_line(text: str, tmp_path: Path) -> None:
    said = tried(text, tmp_path / "routes.json")
    assert "not a snapshot of routes" in said
    assert "\n" not in said
    assert len(said) < 500
