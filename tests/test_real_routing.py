"""Real servers before apps with every odd kind of rule: each line's label is what Flask itself matched.

The requests are of `odd_requests`, the apps of `odd_app`, and the referee of `truth` sits inside of them.
Each line of a log ends with its request's id, by which it is held against the referee's note.
"""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import odd_requests
import pytest
import truth
from odd_app import DATABASE, GATE, SPECS
from servers import COMBINED, GUNICORN_DEFAULT, ROOT, SAMPLE_LOGS, Address, exchange, gunicorn, nginx, poll

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from traffic import Request

TESTS = ROOT / "tests"
VARIATIONS = int(os.environ.get("ODD_VARIATIONS", "700"))
"""How many requests are made up at random; a long run once in a while takes more."""


GUNICORN_FORMAT = GUNICORN_DEFAULT + ' %(D)s "%({host}i)s" "%({x-request-id}i)s"'
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


class Recording(NamedTuple):
    """A server's log, its format, and what the referee noted: by id, and of requests without one."""

    log: Path
    log_format: str
    notes: dict[str, truth.Truth]
    nameless: list[truth.Truth]


def recorded(log: Path, log_format: str, notes: Path) -> Recording:
    read = truth.read(notes)
    by_id = {note.id: note for note in read if note.id is not None}
    return Recording(log, log_format, by_id, [note for note in read if note.id is None])


def serve(name: str, directory: Path) -> AbstractContextManager[Address]:
    """gunicorn with one of the apps; its log and the referee's notes get the app's name."""
    return gunicorn(
        f"odd_app:served({name!r}, {str(directory / name)!r})",
        directory=TESTS,
        log=directory / f"{name}.log",
        log_format=GUNICORN_FORMAT,
        worker_class="gthread",
        threads=2,
        env={"PYTHONPATH": str(SAMPLE_LOGS), DATABASE: "there", GATE: str(directory / "gate")},
        options=("--limit-request-line", "8190", "--forwarder-headers", "SCRIPT_NAME", "--keep-alive", "0"),
    )


def drive(address: Address, requests: list[Request]) -> None:
    """Send requests, each with an id, two at once."""
    wires = [request.wire(x_request_id=f"g{number}") for number, request in enumerate(requests)]
    with ThreadPoolExecutor(2) as clients:
        list(clients.map(lambda wire: exchange(address, wire), wires))


REQUESTS = {
    "odd": odd_requests.odd_requests(seed=3, count=VARIATIONS),
    "hosts": odd_requests.hosted_requests(),
    "subdomains": odd_requests.hosted_requests(),
    "mounted": odd_requests.mounted_requests(seed=4, count=VARIATIONS // 4),
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
    """Whether gunicorn takes it from nginx, which passes on what gunicorn refuses: see docs/labels.md."""
    return request.raw is not None or request.target.isascii()


def static_and_down() -> list[Request]:
    """What nginx answers itself, and what it passes on to nobody."""
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

SHOWN = {
    "unmatched": "(unmatched)",
    "method_not_allowed": "(method not allowed)",
    "redirect": "(redirect)",
    "not_the_app": "(not the app)",
}


class Label(NamedTuple):
    """What a line of a log is labelled with."""

    rule: str
    endpoint: str | None
    outcome: str


def expected(recording: Recording, line: str) -> Label:
    """What the referee says about a line; what it has not seen never came to the app."""
    note = recording.notes.get(line.rpartition(" ")[2].strip('"'))
    if note is None and recording.nameless:
        asked = re.search(r'"([A-Z]+) (\S+)" ', line)  # HTTP/0.9: neither headers nor a version
        note = next((each for each in recording.nameless if asked and each[1:3] == asked.groups()), None)
    if note is None:
        if re.search('"(GET|HEAD) /down/x ', line):  # nginx found nobody there
            return Label("/down/<name>", "/down/<name>", "matched")
        return Label(SHOWN["not_the_app"], None, "not_the_app")
    return Label(note.rule or SHOWN[note.outcome], note.endpoint, note.outcome)


def logstatsd(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as its users do, where the apps are, and without the database."""
    done = subprocess.run(
        [sys.executable, "-m", "logstatsd", *arguments],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": str(SAMPLE_LOGS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(params=["app", "snapshot"])
def mode(request: pytest.FixtureRequest) -> str:
    """Whether the command imports the app, or has only a snapshot of its routes."""
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


def text_lines(log: Path) -> list[str]:
    """The lines of a log, whatever bytes they hold."""
    return [line.decode("utf-8", "surrogateescape") for line in log.read_bytes().split(b"\n")[:-1]]


def wrong(recording: Recording, found: list[tuple[str, Any]], mode: str) -> list[tuple[str, Label, Label]]:
    """The lines that are not labelled with what Flask matched, and both labels."""
    different = []
    for line, row in found:
        asked, got = expected(recording, line), Label(row["rule"], row["endpoint"], row["outcome"])
        # Without the app, what its own converters refuse keeps the rule.
        refused = mode == "snapshot" and got.rule.startswith("/custom/") and asked.outcome != "matched"
        if asked != got and not refused:
            different.append((line, asked, got))
    return different


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("odd", "odd"),
        ("odd", "proxied"),
        ("hosts", "hosts"),
        ("subdomains", "subdomains"),
        ("mounted", "mounted"),
        ("mounted", "mounts"),
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
    """And each that can be matched was, but for what only nginx's part of the test asks for."""
    recording = by_gunicorn["odd"]
    matched = Counter(expected(recording, line) for line in text_lines(recording.log))

    told = ["--app", *SPECS["odd"], "--log-format", recording.log_format]
    done = logstatsd("routes", str(recording.log), *told, "--json")

    rules = json.loads(done.stdout)["rules"]
    counted = {Label(each["rule"], each["endpoint"], "matched"): each["requests"] for each in rules}
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
