"""Real servers before apps with every odd kind of rule: each line's label is what Flask itself matched.

The requests are of `odd_requests`, the apps of `odd_app`, and the referee sits inside of them.
"""

from __future__ import annotations

import json
import os
import random
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import odd_requests
import pytest
from odd_app import SPECS
from odd_servers import (
    GUNICORN_FORMAT,
    Recording,
    drive,
    expected,
    logstatsd,
    recorded,
    serve,
    text_lines,
    wrong,
)
from servers import COMBINED, Address, exchange, nginx, poll

from logstatsd.model.route import Route

if TYPE_CHECKING:
    from pathlib import Path

    from traffic import Request

pytestmark = pytest.mark.slow

VARIATIONS = int(os.environ.get("ODD_VARIATIONS", "700"))
"""How many requests are made up at random; a long run once in a while takes more."""


HEAD = COMBINED.strip("'")
NGINX_FORMATS = {
    "root": HEAD + ' $request_time $upstream_addr "$http_host" $request_id',
    "times": HEAD + " $request_time $upstream_response_time $request_id",
    "only": HEAD + " $upstream_response_time $request_id",
}
"""Formats that tell what nginx answered itself; the last two by the time that the upstream took."""

LOCATIONS = """
    keepalive_timeout 0;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header X-Request-Id $request_id;
    location / {{ proxy_pass http://app; }}
    location = /socket/x {{
        proxy_set_header X-Request-Id $request_id;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
        proxy_pass http://app;
    }}
    location /static/ {{ root {directory}; }}
    location /down/ {{ proxy_pass http://127.0.0.1:1; }}
    location = /slow/late {{ proxy_read_timeout 100ms; proxy_pass http://app; }}
    location /pre/ {{
        access_log {directory}/kept.log format_0;
        proxy_set_header X-Request-Id $request_id;
        proxy_set_header SCRIPT_NAME /pre;
        proxy_pass http://app;
    }}
    location /uri/ {{
        access_log {directory}/uri.log format_0;
        proxy_pass http://app/;
    }}
    location /rewritten/ {{
        access_log {directory}/rewritten.log format_0;
        rewrite ^/rewritten(/.*)$ $1 break;
        proxy_pass http://app;
    }}
"""

# --- what happened --------------------------------------------------------------------------------------


REQUESTS = {
    "odd": odd_requests.odd_requests(seed=3, count=VARIATIONS),
    "hosts": odd_requests.hosted_requests(),
    "subdomains": odd_requests.hosted_requests(),
    "mounted": odd_requests.mounted_requests(seed=4, count=VARIATIONS // 4),
    "catching": odd_requests.caught_requests(),
}


@pytest.fixture(scope="module")
def by_gunicorn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recording]:
    """gunicorn alone, once for each app."""
    directory = tmp_path_factory.mktemp("gunicorn")
    with ExitStack() as servers:
        for name, requests in REQUESTS.items():
            drive(servers.enter_context(serve(name, directory)), requests)
    return {name: recorded(directory / f"{name}.log", GUNICORN_FORMAT, directory / name) for name in REQUESTS}


@pytest.fixture(scope="module")
def by_nginx(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recording]:
    """nginx before gunicorn: the app at its root, and under two prefixes."""
    directory = tmp_path_factory.mktemp("nginx")
    (directory / "static").mkdir()
    (directory / "static" / "x.css").write_text("p {}")
    with (
        serve("proxied", directory) as app,
        nginx(
            app,
            directory=directory,
            logs={f"{name}.log": f"'{log_format}'" for name, log_format in NGINX_FORMATS.items()},
            locations=LOCATIONS.format(directory=directory),
        ) as front,
    ):
        drive(front, [*filter(taken_by_gunicorn, REQUESTS["odd"]), *static_and_down()])
        for prefix in ("/pre", "/uri", "/rewritten"):
            drive(front, prefixed(prefix))
        keep_waiting(front, directory)
    formats = {**NGINX_FORMATS, **dict.fromkeys(("kept", "uri", "rewritten"), NGINX_FORMATS["root"])}
    return {
        name: recorded(directory / f"{name}.log", log_format, directory / "proxied")
        for name, log_format in formats.items()
    }


def taken_by_gunicorn(request: Request) -> bool:
    """Tell whether gunicorn takes what nginx passes on; see docs/labels.md for what it refuses."""
    return request.raw is not None or request.target.isascii()


def static_and_down() -> list[Request]:
    """Requests that nginx answers itself, and those that it passes on to nobody."""
    targets = ["/static/x.css", "/static/nothing.css", "//static/x.css", "/branch/../static/x.css", "/down/x"]
    return [odd_requests.request(target, method) for target in targets for method in ("GET", "HEAD")]


def prefixed(prefix: str) -> list[Request]:
    """Every path under a prefix, and what can be done to that."""
    dice = random.Random(prefix)
    paths = [prefix + path for path in odd_requests.PATHS if path.isascii()]
    more = [
        prefix,
        "/" + prefix,
        f"/x/..{prefix}/leaf",
        f"/%{ord(prefix[1]):x}{prefix[2:]}/leaf",
        f"{prefix}x/leaf",
    ]
    some = [odd_requests.varied(dice.choice(paths), dice) for _ in range(VARIATIONS // 2)]
    return [
        odd_requests.request(path, dice.choice(["GET", "GET", "POST"])) for path in [*paths, *more, *some]
    ]


def keep_waiting(front: Address, directory: Path) -> None:
    """Have a client give up while the app is at work, and have nginx give up too."""
    log = directory / "root.log"
    with socket.socket(socket.AF_UNIX) as gate, ThreadPoolExecutor(1) as client:
        gate.bind(str(directory / "gate"))
        gate.listen()
        with socket.create_connection(front) as impatient:
            impatient.sendall(odd_requests.request("/slow/left").wire())
            at_work, _ = gate.accept()
        poll(
            "nginx to log that the client has left", lambda: b'/slow/left HTTP/1.1" 499 ' in log.read_bytes()
        )
        at_work.close()
        answer = client.submit(exchange, front, odd_requests.request("/slow/late").wire())
        at_work, _ = gate.accept()
        assert answer.result().startswith(b"HTTP/1.1 504 ")
        at_work.close()


# --- what it has to become ------------------------------------------------------------------------------


@pytest.fixture(params=["app", "snapshot"])
def mode(request: pytest.FixtureRequest) -> str:
    """Have the command import the app, or only a snapshot of its routes."""
    return str(request.param)


def labelled(
    recording: Recording, spec: str, mode: str, directory: Path, *options: str
) -> list[tuple[str, Any]]:
    """Every line of a log, with what `normalize` makes of it."""
    app = [word for each in SPECS[spec] for word in ("--app", each)]
    if mode == "snapshot":
        snapshot = str(directory / "routes.json")
        logstatsd("routes", *app, "-o", snapshot)
        app = ["--routes", snapshot]
    told = ["--log-format", recording.log_format]
    done = logstatsd("normalize", str(recording.log), *app, *told, *options)
    return list(zip(text_lines(recording.log), map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("odd", "odd"),
        ("odd", "proxied"),
        ("hosts", "hosts"),
        ("subdomains", "subdomains"),
        ("mounted", "mounted"),
        ("mounted", "mounts"),
        ("catching", "catching"),
    ],
)
def test_gunicorn(name: str, spec: str, mode: str, by_gunicorn: dict[str, Recording], tmp_path: Path) -> None:
    recording = by_gunicorn[name]

    found = labelled(recording, spec, mode, tmp_path)
    if spec == "mounts":  # the apps as the user lists them: what else is mounted, nobody has said
        found = [(line, row) for line, row in found if expected(recording, line).outcome != "not_the_app"]

    assert wrong(recording, found, mode) == []
    assert len(recording.notes) > 0.9 * len(REQUESTS[name])


def test_each_rule_has_its_requests_counted(by_gunicorn: dict[str, Recording]) -> None:
    """Each that can be matched was, but for what only nginx's part of the test asks for."""
    recording = by_gunicorn["odd"]
    matched = Counter(expected(recording, line) for line in text_lines(recording.log))

    told = ["--app", *SPECS["odd"], "--log-format", recording.log_format]
    done = logstatsd("routes", str(recording.log), *told, "--json")

    rules = json.loads(done.stdout)["rules"]
    counted = {Route(each["rule"], each["endpoint"], "matched"): each["requests"] for each in rules}
    assert +Counter(counted) == Counter(
        {label: n for label, n in matched.items() if label.outcome == "matched"}
    )
    unused = {each["rule"] for each in rules if not each["requests"] and not each["redirects"]}
    assert unused == {"/slow/<name>", "/down/<name>"}


@pytest.mark.real_server("nginx")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("root", []),
        ("times", []),
        ("only", []),
        ("kept", ["--strip-prefix", "/pre"]),
        ("uri", ["--strip-prefix", "/uri/", "--normalised-prefix"]),
        ("rewritten", ["--strip-prefix", "/rewritten/", "--normalised-prefix"]),
    ],
)
def test_nginx_before_gunicorn(
    name: str, options: list[str], mode: str, by_nginx: dict[str, Recording], tmp_path: Path
) -> None:
    recording = by_nginx[name]

    found = labelled(recording, "odd", mode, tmp_path, *options)

    assert wrong(recording, found, mode) == []
