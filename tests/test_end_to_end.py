"""From a visitor's bytes to a StatsD server's numbers, over real servers: none lost, none mislabelled.

gunicorn, alone and behind nginx, serves the sample app to some hundred requests of every kind. The app is
refereed: it notes what Flask matched for each request, under an id that the server's log shows too. Whatever
logstatsd then makes of the log has to be what the referee noted, series by series and value by value.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from command import run
from places import SAMPLE_LOGS, SHOP, SUPPORT
from receivers import Series, receiving, series
from referee import Note, read_notes
from servers import COMBINED, GUNICORN_DEFAULT, Address, exchange, gunicorn, nginx, statsd
from traffic import Request, traffic

from logstatsd.formats.detect import detect
from logstatsd.model.route import Route, Undecided
from logstatsd.routing import app as apps
from logstatsd.routing.router import Router
from logstatsd.scan.labels import Labels

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

pytestmark = pytest.mark.slow

REQUESTS = 600

GUNICORN_FORMAT = GUNICORN_DEFAULT + ' "%({x-request-id}i)s" %(D)s'
NGINX_FORMAT = COMBINED.strip("'") + ' "$http_x_request_id" $request_time $upstream_addr'
NGINX_JSON = (
    '{"time_iso8601":"$time_iso8601","request_method":"$request_method","request_uri":"$request_uri",'
    '"status":$status,"request_time":$request_time,"upstream_addr":"$upstream_addr",'
    '"request_id":"$http_x_request_id"}'
)


# --- what happened --------------------------------------------------------------------------------------


class Timed(NamedTuple):
    """A request as a server's log shows it: what the client called it, and how long it took."""

    id: str | None
    duration_us: int


class Recording(NamedTuple):
    """A server's log of some traffic, and what the referee noted of the same."""

    log: Path
    log_format: str | None
    """The format as the server was given it; None leaves it to be found out."""

    lines: int
    passed_on: list[Timed]
    """What the log says went to the app, read by no code under test."""

    notes: list[Note]

    @property
    def answered_by_server(self) -> int:
        """Count the requests in the log that never came to the app."""
        return self.lines - len(self.notes)


def drive(address: Address, requests: list[Request]) -> None:
    """Send requests from four visitors at once, each with an id."""
    wires = [request.wire(x_request_id=f"r{number}") for number, request in enumerate(requests)]
    with ThreadPoolExecutor(4) as visitors:
        list(visitors.map(lambda wire: exchange(address, wire), wires))


def patient(request: Request) -> bool:
    """Tell whether the visitor waits: how one who does not is logged is a matter of luck."""
    return request.patience_s is None


def taken_by_gunicorn(request: Request) -> bool:
    """Tell whether gunicorn takes what nginx passes on; nginx's log has it either way."""
    return request.raw is not None or (request.target.isascii() and len(request.target) < 4000)


def refereed_shop(notes: Path, log: Path) -> AbstractContextManager[Address]:
    """gunicorn that serves the shop and has each request noted."""
    return gunicorn(
        f"referee:refereed('shop:app', {str(notes)!r})",
        directory=SUPPORT,
        log=log,
        log_format=GUNICORN_FORMAT,
        worker_class="gthread",
        workers=2,
        threads=2,
        env={"PYTHONPATH": str(SAMPLE_LOGS)},
    )


@pytest.fixture(scope="module")
def by_gunicorn(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """gunicorn alone, which lets nearly everything through to the app."""
    directory = tmp_path_factory.mktemp("gunicorn")
    notes, log = directory / "notes.jsonl", directory / "gunicorn.log"
    with refereed_shop(notes, log) as app:
        drive(app, [each for each in traffic(seed=11, count=REQUESTS) if patient(each)])
    lines = log.read_bytes().splitlines()
    passed_on = [
        Timed(found[1].decode(), int(found[2]))
        for line in lines
        if (found := re.search(rb'"(r\d+)" (\d+)$', line)) and b' 400 0 "-" "-" "r' not in line
    ]
    return Recording(log, GUNICORN_FORMAT, len(lines), passed_on, read_notes(notes))


@pytest.fixture(scope="module")
def by_nginx(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recording]:
    """nginx before gunicorn, logging the same requests as text and as JSON."""
    directory = tmp_path_factory.mktemp("nginx")
    notes = directory / "notes.jsonl"
    text, objects = directory / "nginx.log", directory / "nginx.json.log"
    logs = {text.name: f"'{NGINX_FORMAT}'", objects.name: f"escape=json '{NGINX_JSON}'"}
    with (
        refereed_shop(notes, directory / "app.log") as app,
        nginx(app, directory=directory, logs=logs) as front,
    ):
        requests = traffic(seed=12, count=REQUESTS)
        drive(front, [each for each in requests if patient(each) and taken_by_gunicorn(each)])
    read = read_notes(notes)
    lines = text.read_bytes().splitlines()
    found = [re.search(rb'"(-|r\d+)" (\d+)\.(\d{3}) 127\.[\d.:]+$', line) for line in lines]
    timed = [Timed(id_of(each[1].decode()), int(each[2] + each[3]) * 1000) for each in found if each]
    entries = [json.loads(line.decode(errors="replace")) for line in objects.read_bytes().splitlines()]
    json_timed = [
        Timed(id_of(entry["request_id"]), round(entry["request_time"] * 1_000_000))
        for entry in entries
        if entry["upstream_addr"]
    ]
    return {
        "text": Recording(text, NGINX_FORMAT, len(lines), timed, read),
        "json": Recording(objects, None, len(entries), json_timed, read),
    }


def id_of(logged: str) -> str | None:
    """A request's id; bytes too odd to hold headers, such as HTTP/0.9, have none."""
    return None if logged in ("", "-") else logged


@pytest.fixture(
    params=[
        "gunicorn",
        pytest.param("text", marks=pytest.mark.real_server("nginx"), id="nginx"),
        pytest.param("json", marks=pytest.mark.real_server("nginx"), id="nginx-json"),
    ]
)
def recording(request: pytest.FixtureRequest) -> Recording:
    """Each server's log in turn."""
    if request.param == "gunicorn":
        only: Recording = request.getfixturevalue("by_gunicorn")
        return only
    both: dict[str, Recording] = request.getfixturevalue("by_nginx")
    return both[request.param]


# --- what it has to become ------------------------------------------------------------------------------

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}


class Label(NamedTuple):
    """Route, method and status that a request is to be counted under."""

    route: Route
    method: str
    status: int


def noted_durations(recording: Recording) -> dict[Label, Counter[int]]:
    """The durations in microseconds of each series: the referee says which, the log how long."""
    pool: dict[str | None, list[int]] = defaultdict(list)
    for timed in recording.passed_on:
        pool[timed.id].append(timed.duration_us)
    expected: dict[Label, Counter[int]] = defaultdict(Counter)
    for note in recording.notes:
        method = note.method if note.method in METHODS else "_OTHER"
        expected[Label(note.route, method, note.status)][pool[note.id].pop()] += 1
    assert not any(pool.values()), "the log has requests that the referee did not see"
    return expected


def noted_metrics(recording: Recording) -> dict[Series, Counter[float]]:
    """The same as the metrics that DESIGN.md names, in milliseconds."""
    expected: dict[Series, Counter[float]] = defaultdict(Counter)
    for (route, method, status), durations in noted_durations(recording).items():
        rule = route.rule if route.outcome == "matched" else route.outcome
        tags = {"http_method": method, "http_status_code": status, "url_rule": safe(rule)}
        if route.endpoint:
            tags["endpoint"] = route.endpoint
        values = {duration_us / 1000: count for duration_us, count in durations.items()}
        expected[series("shop.api.request", "ms", **tags)].update(values)
    return dict(expected)


def safe(tag: str) -> str:
    """A tag's value as the datadog client would send it."""
    return re.sub(r"[^\w:/.-]", "_", tag)


def apart(metrics: dict[Series, Counter[float]]) -> tuple[dict[Series, Counter[float]], int]:
    """Metrics of the app, and how many values are of requests that never came to it."""
    others = {name for name in metrics if "url_rule:not_the_app" in name.tags}
    count = sum(metrics[name].total() for name in others)
    return {name: values for name, values in metrics.items() if name not in others}, count


# --- labels ---------------------------------------------------------------------------------------------


def test_each_request_is_labelled_with_what_flask_matched(recording: Recording) -> None:
    shop = apps.load([SHOP])
    labels = Labels(
        detect(recording.log.read_bytes(), recording.log.name).log_format, Router(shop.snapshot())
    )
    labels.roles = ("method", "target")

    def label(note: Note) -> Route:
        route, _ = labels.label((note.method.encode(), note.target.encode("latin-1")))
        return shop.resolve(route)[0] if isinstance(route, Undecided) else route

    wrong = [note for note in recording.notes if label(note) != note.route]

    assert wrong == []


# --- commands -------------------------------------------------------------------------------------------


def logstatsd(command: str, recording: Recording, *options: str) -> Any:
    """Run `logstatsd COMMAND LOG --app SHOP --json …` and return what it prints."""
    told = ["--log-format", recording.log_format] if recording.log_format else []
    arguments = [command, str(recording.log), "--app", SHOP, *told, "--json", *options]
    return json.loads(run(*arguments).stdout)


def test_report_counts_and_times_what_the_app_saw(recording: Recording) -> None:
    shown = logstatsd("report", recording, "--by", "rule", "--by", "method", "--by", "status")

    rows = [row for row in shown["rows"] if row["outcome"] != "not_the_app"]
    assert {
        Label(Route(row["rule"], row["endpoint"], row["outcome"]), row["method"], row["status"]): (
            row["requests"],
            row["total_us"],
            row["max_us"],
        )
        for row in rows
    } == {
        label: (durations.total(), sum(durations.elements()), max(durations))
        for label, durations in noted_durations(recording).items()
    }
    assert shown["lines"] == shown["parsed"] == recording.lines
    assert shown["rejected"] == 0
    assert sum(row["requests"] for row in shown["rows"]) == recording.lines


@pytest.mark.parametrize("transport", ["udp", "unixgram", "unixstream"])
def test_replay_sends_each_timing_under_what_flask_matched(
    recording: Recording, transport: Any, tmp_path: Path
) -> None:
    with receiving(transport, directory=tmp_path) as inbox:
        told = logstatsd("replay", recording, *destination(inbox.address))

    metrics, others = apart(inbox.timings)
    assert metrics == noted_metrics(recording)
    assert others == recording.answered_by_server
    assert told["lines"] == told["parsed"] == told["sent"] == told["due"] == recording.lines
    assert told["dropped"] == told["unconfirmed"] == told["rejected"] == 0


@pytest.mark.real_server("node", "statsd")
@pytest.mark.parametrize("dialect", ["dogstatsd", "graphite"])
def test_a_real_statsd_server_receives_each_timing(
    recording: Recording, dialect: str, tmp_path: Path
) -> None:
    with statsd(directory=tmp_path) as server:
        logstatsd("replay", recording, *destination(server.address), "--dialect", dialect)
        received = server.finish()

    expected: dict[str, Counter[float]] = defaultdict(Counter)
    for name, values in noted_metrics(recording).items():
        expected[npm_key(name, dialect)].update(values)
    timers = {by_tags(key): Counter(values) for key, values in received.timers.items()}
    ours = {key: values for key, values in timers.items() if "url_rule=not_the_app" not in key}
    assert ours == {by_tags(key): values for key, values in expected.items()}
    assert sum(received.counts.values()) == recording.lines
    assert received.bad_lines == 0


def destination(address: Address | str) -> list[str]:
    """The options that name a server."""
    if isinstance(address, str):
        return ["--socket", address]
    return ["--host", address.host, "--port", str(address.port)]


def npm_key(name: Series, dialect: str) -> str:
    """Name a series as npm statsd does: tags as `;k=v`, slashes as hyphens, no other odd character."""
    tags = [tag.partition(":") for tag in name.tags]
    colon = "" if dialect == "dogstatsd" else "_"
    pairs = [f"{key}={value.replace(':', colon).replace('/', '-')}" for key, _, value in tags]
    return ";".join([name.name, *pairs])


def by_tags(key: str) -> frozenset[str]:
    """A key as its parts: the order of tags means nothing."""
    return frozenset(key.split(";"))
