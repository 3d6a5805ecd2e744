"""From a visitor's bytes to a StatsD server's numbers, over real servers: none lost, none mislabelled.

gunicorn, alone and behind nginx, serves the sample app to some hundred requests of every kind. The app is
refereed: it notes what Flask matched for each request. Whatever is then made of the servers' logs has to be
what the referee noted, series by series.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pytest
import truth
from servers import (
    COMBINED,
    GUNICORN_DEFAULT,
    ROOT,
    SAMPLE_LOGS,
    Address,
    exchange,
    gunicorn,
    nginx,
)
from traffic import HOST, Request, traffic

from logstatsd import apps
from logstatsd.labels import METHOD_NOT_ALLOWED, REDIRECT, UNMATCHED, Route, Undecided
from logstatsd.routes import Router

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

REQUESTS = 600

NGINX_LOGS = {
    "nginx.log": COMBINED[:-1] + " $request_time $upstream_response_time'",
    "nginx.json.log": """escape=json '{"time":"$time_iso8601","request_method":"$request_method",'
        '"request_uri":"$request_uri","status":$status,"request_time":$request_time,'
        '"upstream_addr":"$upstream_addr"}'""",
}


class Recording(NamedTuple):
    """What a server logged of some traffic, and what the referee noted of the same."""

    logs: dict[str, Path]
    notes: list[truth.Truth]


def patient(request: Request) -> bool:
    """Whether the visitor waits: how one who does not is logged is a matter of luck."""
    return request.patience_s is None


def tells(request: Request) -> bool:
    """Whether nginx's log tells who refused the request; of these it only says that gunicorn answered."""
    return request.raw is not None or (request.target.isascii() and len(request.target) < 4000)


def has_a_path(request: Request) -> bool:
    """`GET http://host` has none: nginx makes it `/`, gunicorn leaves it empty and Flask redirects."""
    return request.target != f"http://{HOST}".encode()


def drive(address: Address, requests: list[Request]) -> None:
    """Send requests from four visitors at once, each with an id."""
    with ThreadPoolExecutor(4) as visitors:
        wires = [request.wire(x_request_id=f"r{number}") for number, request in enumerate(requests)]
        list(visitors.map(lambda wire: exchange(address, wire), wires))


def referee_shop(notes: Path, log: Path) -> AbstractContextManager[Address]:
    """gunicorn that serves the shop and has each request noted."""
    return gunicorn(
        f"truth:refereed('shop:app', {str(notes)!r})",
        directory=ROOT / "tests",
        log=log,
        log_format=GUNICORN_DEFAULT + " %(D)s",
        worker_class="gthread",
        workers=2,
        threads=2,
        env={"PYTHONPATH": str(SAMPLE_LOGS)},
    )


@pytest.fixture(scope="module")
def by_gunicorn(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """gunicorn alone, which lets nearly everything through to the app."""
    directory = tmp_path_factory.mktemp("gunicorn")
    notes, log = directory / "truth.jsonl", directory / "gunicorn.log"
    with referee_shop(notes, log) as app:
        drive(app, [each for each in traffic(seed=11, count=REQUESTS) if patient(each) and has_a_path(each)])
    return Recording({"gunicorn.log": log}, truth.read(notes))


@pytest.fixture(scope="module")
def by_nginx(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """nginx before gunicorn, writing two logs of the same requests."""
    directory = tmp_path_factory.mktemp("nginx")
    notes, log = directory / "truth.jsonl", directory / "app.log"
    with referee_shop(notes, log) as app, nginx(app, directory=directory, logs=NGINX_LOGS) as front:
        drive(front, [each for each in traffic(seed=12, count=REQUESTS) if patient(each) and tells(each)])
    return Recording({name: directory / name for name in NGINX_LOGS}, truth.read(notes))


@pytest.fixture(scope="module")
def shop() -> apps.LoadedApp:
    """The sample app, loaded as a user names it."""
    return apps.load([f"{SAMPLE_LOGS / 'shop.py'}:app"])


# --- labels ---------------------------------------------------------------------------------------------

FIXED = {route.outcome: route for route in (METHOD_NOT_ALLOWED, REDIRECT, UNMATCHED)}


def noted_route(note: truth.Truth) -> Route:
    """The label that the referee's note asks for."""
    if note.rule is None:
        return FIXED[note.outcome]
    return Route(note.rule, note.endpoint, note.outcome)


def label(shop: apps.LoadedApp, router: Router, note: truth.Truth) -> Route:
    """The label that logstatsd gives, the app asked where it must be."""
    route = router.match(note.method, note.target.encode("latin-1"))
    return shop.resolve(route)[0] if isinstance(route, Undecided) else route


def mislabelled(shop: apps.LoadedApp, recording: Recording) -> list[tuple[str, str, Route, Route]]:
    """Method, target, label as noted and label as given, of each request for which the two differ."""
    router = Router(shop.snapshot())
    labels = [
        (note.method, note.target, noted_route(note), label(shop, router, note)) for note in recording.notes
    ]
    return [each for each in labels if each[2] != each[3]]


def test_gunicorns_requests_are_labelled_with_what_flask_matched(
    shop: apps.LoadedApp, by_gunicorn: Recording
) -> None:
    assert mislabelled(shop, by_gunicorn) == []


@pytest.mark.real_server("nginx")
def test_nginxs_requests_are_labelled_with_what_flask_matched(
    shop: apps.LoadedApp, by_nginx: Recording
) -> None:
    assert mislabelled(shop, by_nginx) == []
