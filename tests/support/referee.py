"""The referee: what Flask and Werkzeug themselves make of a request, which every label is held to.

It is asked in three ways. `what_flask_matched` asks an app's map. `refereed` wraps an app that a server runs,
with as many workers as you like, and notes every request:

    gunicorn 'referee:refereed("shop:app", "/tmp/notes.jsonl")'

`pytest -p referee` asks a Router beside every match of Werkzeug's own tests.
"""

from __future__ import annotations

import json
import os
import traceback
import warnings
from ast import literal_eval
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote_to_bytes

import random_maps
from flask import current_app, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import BuildError, MapAdapter, RequestRedirect
from werkzeug.test import EnvironBuilder
from werkzeug.wsgi import ClosingIterator

from logstatsd.model.route import METHOD_NOT_ALLOWED, NOT_THE_APP, REDIRECT, UNMATCHED, Route, Undecided
from logstatsd.routing import app as apps
from logstatsd.routing.router import Router

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from flask import Flask
    from werkzeug.routing import Rule

    Wsgi = Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]


def matched(rule: Rule, server_name: str | None = None, mounted_at: str = "") -> Route:
    """The label of a rule, with the host or the prefix that it holds under."""
    host = (rule.host or "") if rule.map.host_matching else ""
    if rule.subdomain and server_name:
        host = f"{rule.subdomain}.{server_name}"
    return Route(host + mounted_at + rule.rule, str(rule.endpoint), "matched")


def refused(error: Exception | None) -> Route:
    """The label of a request that the map answers with this error."""
    if isinstance(error, RequestRedirect):
        return REDIRECT
    if isinstance(error, MethodNotAllowed) and not isinstance(error, random_maps.DeniedMethod):
        return METHOD_NOT_ALLOWED
    return UNMATCHED


def matched_by(app: Flask, rule: Rule, mounted_at: str = "") -> Route:
    """The label of an app's rule; subdomains tell rules apart only where the app says so."""
    return matched(rule, app.config["SERVER_NAME"] if app.subdomain_matching else None, mounted_at)


# --- asked of an app's map ------------------------------------------------------------------------------


def adapter_for(app: Flask, host: str) -> MapAdapter | None:
    """The map, bound as Flask binds it for a request with this Host; None where it answers 400."""
    environ = EnvironBuilder().get_environ()
    environ["HTTP_HOST"] = host
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return app.create_url_adapter(app.request_class(environ))
    except HTTPException:
        return None


def what_flask_matched(
    app: Flask, adapter: MapAdapter | None, method: str, target: bytes, websocket: bool
) -> Route | None:
    """The label by Werkzeug itself; None where a converter broke."""
    if adapter is None:
        return UNMATCHED
    raw = target.partition(b"?")[0].partition(b"#")[0]
    path = unquote_to_bytes(raw).decode("utf-8", "replace")
    try:
        rule, _ = adapter.match(path, method, return_rule=True, websocket=websocket)
    except HTTPException as error:
        return refused(error)
    except random_maps.Boom:
        return None
    except BuildError:
        return REDIRECT  # of which the app cannot make the URL, so that it answers 500
    except (ValueError, TypeError) as error:  # 500, and before Werkzeug 3.1.7 from its own converters too
        raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
        return None if raised_in == random_maps.__file__ else UNMATCHED
    return matched_by(app, rule)


# --- inside of an app that a server runs ----------------------------------------------------------------

VERDICT = "logstatsd.verdict"
SERVED_AT = "logstatsd.served_at"
"""The prefix that the server itself took off, before any app did."""


class Note(NamedTuple):
    """A request and what Flask made of it: a line of JSON, written when the response is closed.

    `id` is the request's X-Request-Id header. The last three are the label's.
    """

    id: str | None
    method: str
    target: str
    status: int
    rule: str
    endpoint: str | None
    outcome: str

    @property
    def route(self) -> Route:
        """The label."""
        return Route(self.rule, self.endpoint, self.outcome)


def read_notes(path: Path) -> list[Note]:
    """All that a referee has written, in the order in which responses were completed."""
    with path.open(encoding="ascii") as lines:
        return [Note(**json.loads(line)) for line in lines]


def refereed(spec: str, path: str) -> Wsgi:
    """Load the Flask app that `spec` names (`module:app`, or `module:factory('argument')`) and referee it."""
    module, _, attribute = spec.partition(":")
    name, is_called, argument = attribute.partition("(")
    app = getattr(import_module(module), name)
    app = app(literal_eval(argument.removesuffix(")"))) if is_called else app
    judge(app)
    return noted(app, path)


def judge(app: Flask) -> None:
    """Have an app leave its verdict with each request, for a wrapper of `noted` to find."""

    @app.teardown_request
    def keep_verdict(_error: BaseException | None) -> None:
        # The only moment at which Flask has decided for certain and still knows the request.
        rule = request.url_rule
        mounted_at = request.script_root.removeprefix(request.environ[SERVED_AT])
        request.environ[VERDICT] = (
            matched_by(current_app, rule, mounted_at) if rule else refused(request.routing_exception)
        )


def noted(app: Wsgi, path: str) -> Wsgi:
    """Wrap whatever leads to apps that judge; what came to none of them is not the app's."""
    # O_APPEND makes one short write one whole line, whichever process it comes from.
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def refereed_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        status = 0
        environ[SERVED_AT] = environ.get("SCRIPT_NAME", "")

        def note_status(line: str, *rest: Any) -> Any:
            nonlocal status
            status = int(line[:3])
            return start_response(line, *rest)

        def write() -> None:
            os.write(log, as_line(environ, status))

        try:
            body = app(environ, note_status)
        except Exception:  # of an app that lets them through, to a server that answers 500
            status = 500
            write()
            raise
        return ClosingIterator(body, [write])

    return refereed_app


def as_line(environ: WSGIEnvironment, status: int) -> bytes:
    """A request's line in the referee's file."""
    route: Route = environ.get(VERDICT, NOT_THE_APP)
    asked = environ.get("HTTP_X_REQUEST_ID"), environ["REQUEST_METHOD"], environ.get("RAW_URI", "")
    note = Note(*asked, status, route.rule, route.endpoint, route.outcome)
    return json.dumps(note._asdict()).encode("ascii") + b"\n"


# --- beside Werkzeug's own tests, as a plugin of pytest -------------------------------------------------

REPORT = "LOGSTATSD_TEST_REPORT"
"""The environment's name for the file that gets what was compared, and each difference."""

compared: list[str] = []
differences: list[str] = []
original_match = MapAdapter.match


class Holder:
    """A map, as an app has it."""

    def __init__(self, url_map: Any) -> None:
        self.url_map = url_map


def what_the_router_says(adapter: MapAdapter, path: str, method: str, websocket: bool) -> Route:
    """The label by a Router of the adapter's map, bound as the adapter is."""
    app = apps.from_object(Holder(adapter.map))
    snapshot = app.snapshot()
    binding = snapshot["mounts"][0]["binding"]
    if binding["to"] == "fixed":
        binding["name"] = adapter.server_name if adapter.subdomain is None else adapter.subdomain
    router = Router(json.loads(json.dumps(snapshot)))
    answer = router.match(method, quote(path).encode(), adapter.server_name, websocket)
    return app.resolve(answer)[0] if isinstance(answer, Undecided) else answer


def match_and_compare(
    self: MapAdapter,
    path_info: str | None = None,
    method: str | None = None,
    return_rule: bool = False,
    query_args: Any = None,
    websocket: bool | None = None,
) -> Any:
    """MapAdapter.match, which asks a Router too."""
    asked = (
        self.path_info if path_info is None else path_info,
        (method or self.default_method).upper(),
        self.websocket if websocket is None else websocket,
    )
    try:
        rule, values = original_match(self, path_info, method, True, query_args, websocket)
    except HTTPException as error:
        compare(self, asked, refused(error))
        raise
    compare(self, asked, matched(rule))
    return (rule if return_rule else rule.endpoint), values


def compare(adapter: MapAdapter, asked: tuple[str, str, bool], expected: Route) -> None:
    """Hold a Router against what Werkzeug has just said, with Werkzeug's own `match` in place."""
    MapAdapter.match = original_match  # type: ignore[method-assign]
    try:
        said = what_the_router_says(adapter, *asked)
    finally:
        MapAdapter.match = match_and_compare  # type: ignore[method-assign]
    compared.append(repr(asked))
    if said != expected:
        differences.append(f"{asked} on {adapter.map!r}: werkzeug {expected}, router {said}")


def pytest_sessionstart() -> None:
    """Compare from here on."""
    MapAdapter.match = match_and_compare  # type: ignore[method-assign]


def pytest_sessionfinish() -> None:
    """Write down what was found."""
    MapAdapter.match = original_match  # type: ignore[method-assign]
    Path(os.environ[REPORT]).write_text(json.dumps({"compared": len(compared), "differences": differences}))
