"""Flask apps that anybody can install: the router's labels are the ones that Flask matches.

`pip install httpbin 'moto[server]' quart`: moto has a converter of its own, which takes slashes.
"""

from __future__ import annotations

import importlib.util
import json
import random
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import quote

import odd_app
import odd_requests
import pytest
from odd_servers import GUNICORN_FORMAT, drive, logstatsd, recorded, text_lines, wrong
from places import SUPPORT
from referee import adapter_for, what_flask_matched
from servers import gunicorn

from logstatsd.model.route import Undecided
from logstatsd.routing import app as apps
from logstatsd.routing.router import Router
from logstatsd.routing.snapshot import dump_snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from flask import Flask
    from traffic import Request

pytestmark = pytest.mark.slow

PUBLIC = {
    "httpbin": "httpbin:app",
    "moto_s3": "moto.moto_server.werkzeug_app:create_backend_app('s3')",
    "moto_apigateway": "moto.moto_server.werkzeug_app:create_backend_app('apigateway')",
}
VALUES = ["a", "7", "1.5", "a/b", "//", "é", "", "200", "x y", "a b/", "user/passwd", "%", "\ufffd"]
METHODS = ["GET", "GET", "GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH"]


def paths_of(app: Flask, chance: random.Random, count: int) -> list[str]:
    """Paths that fit the app's rules, or nearly."""
    shapes = [rule._trace for rule in app.url_map.iter_rules()]
    paths = []
    for _ in range(count):
        filled = [chance.choice(VALUES) if varies else text for varies, text in chance.choice(shapes)]
        path = "".join(filled).partition("|")[2]
        change = chance.random()
        if change < 0.1:
            path = path.removesuffix("/") if path.endswith("/") else path + "/"
        elif change < 0.2:
            at = chance.randrange(len(path) + 1)
            path = path[:at] + chance.choice(["/", "//", "x", "%2F"]) + path[at:]
        paths.append(path)
    return paths


def installed(package: str, config: pytest.Config) -> None:
    """Skip or fail, as with real servers, where a package is missing."""
    if importlib.util.find_spec(package) is None:
        (pytest.fail if config.getoption("--require-real") else pytest.skip)(f"{package} is not installed")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_app_is_labelled_as_flask_matches_it(name: str, pytestconfig: pytest.Config) -> None:
    installed(name.partition("_")[0], pytestconfig)
    loaded = apps.load([PUBLIC[name]])
    app = loaded.app
    router = Router(json.loads(dump_snapshot(loaded.snapshot())))
    adapter = adapter_for(app, "public.test")
    chance = random.Random(7)
    seen: Counter[str] = Counter()
    for path in paths_of(app, chance, 5000):
        target = quote(path, safe=chance.choice(["/", "/ é", ""])).encode()
        method = chance.choice(METHODS)
        expected = what_flask_matched(app, adapter, method, target, False)
        answer = router.match(method, target)
        if isinstance(answer, Undecided):
            answer, _ = loaded.resolve(answer)
        assert answer == expected, f"{method} {target!r}"
        seen[answer.outcome] += 1
    assert seen["matched"] > 1000


def requests_for(app: Flask, count: int) -> list[Request]:
    """Requests for an app's rules, but for those of httpbin that only wait."""
    chance = random.Random(8)
    paths = [path for path in paths_of(app, chance, count) if not path.startswith(("/delay", "/drip"))]
    return [
        odd_requests.request("/" + quote(path[1:], safe=chance.choice(["/", ""])), chance.choice(METHODS))
        for path in paths
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["httpbin", "moto_s3"])
def test_what_a_public_app_was_asked_for_is_labelled_by_its_log(
    name: str, pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    installed(name.partition("_")[0], pytestconfig)
    spec, log, notes = PUBLIC[name], tmp_path / "gunicorn.log", tmp_path / "notes"
    requests = requests_for(apps.load([spec]).app, 400)
    with gunicorn(
        f"referee:refereed({spec!r}, {str(notes)!r})",
        directory=SUPPORT,
        log=log,
        log_format=GUNICORN_FORMAT,
        worker_class="gthread",
        threads=2,
    ) as app:
        drive(app, requests)

    recording = recorded(log, GUNICORN_FORMAT, notes)
    done = logstatsd("normalize", str(log), "--app", spec, "--log-format", GUNICORN_FORMAT)
    found = list(zip(text_lines(log), map(json.loads, done.stdout.splitlines()), strict=True))
    assert wrong(recording, found, "app") == []
    assert len(recording.notes) == len(requests)


@pytest.mark.filterwarnings("ignore")
def test_a_quart_app_is_labelled_by_its_url_map(pytestconfig: pytest.Config) -> None:
    installed("quart", pytestconfig)
    from quart import Quart  # type: ignore[import-not-found, unused-ignore]

    app = Quart("quart")
    app.url_map.converters["code"] = odd_app.Code
    app.url_map.converters["tree"] = odd_app.Tree
    for rule in odd_app.PLAIN:
        if "custom" not in rule:
            app.add_url_rule(rule, rule, odd_app.view)
    app.add_websocket("/socket/<name>", "socket", odd_app.view)
    router = Router(apps.from_object(app).snapshot())
    adapter = app.url_map.bind("public.test")
    for path in odd_requests.PATHS:
        for method, websocket in (("GET", False), ("POST", False), ("GET", True)):
            expected = what_flask_matched(app, adapter, method, path.encode(), websocket)
            assert router.match(method, path.encode(), websocket=websocket) == expected, path
