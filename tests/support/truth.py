"""The referee: a WSGI wrapper that writes down what Flask itself matched, request by request.

Serve any app through it, with as many workers as you like:

    gunicorn 'truth:refereed("shop:app", "/tmp/truth.jsonl")'

Each request gives one line of JSON when its response is closed, in the order of completion:

    {"id": "r17", "method": "GET", "target": "/api/users/ann?x=1", "status": 200,
     "rule": "/api/users/<username>", "endpoint": "api.customers.user", "outcome": "matched"}

`id` is the request's X-Request-Id header, `rule` and `endpoint` are null unless the outcome is `matched`.
"""

from __future__ import annotations

import json
import os
from ast import literal_eval
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from flask import current_app, request
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import RequestRedirect
from werkzeug.wsgi import ClosingIterator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from typing import Any

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from flask import Flask
    from werkzeug.routing import Rule

VERDICT = "logstatsd.verdict"
SERVED_AT = "logstatsd.served_at"
"""The prefix that the server itself took off, before any app did."""


class Verdict(NamedTuple):
    """What Flask made of a request."""

    rule: str | None
    endpoint: str | None
    outcome: str


NOT_THE_APP = Verdict(None, None, "not_the_app")


class Truth(NamedTuple):
    """One line of the referee's file, read back."""

    id: str | None
    method: str
    target: str
    status: int
    rule: str | None
    endpoint: str | None
    outcome: str


def read(path: Path) -> list[Truth]:
    """All that a referee has written."""
    with path.open(encoding="ascii") as lines:
        return [Truth(**json.loads(line)) for line in lines]


def refereed(spec: str, path: str) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    """Load the Flask app that `spec` names (`module:app`, or `module:factory('argument')`) and referee it."""
    module, _, attribute = spec.partition(":")
    name, is_called, argument = attribute.partition("(")
    app = getattr(import_module(module), name)
    return referee(app(literal_eval(argument.removesuffix(")"))) if is_called else app, path)


def referee(app: Flask, path: str) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    """Wrap an app so that each request leaves its line in the file at `path`."""
    judge(app)
    return noted(app, path)


def judge(app: Flask) -> None:
    """Have an app leave its verdict with each request, for a wrapper of `noted` to find."""

    @app.teardown_request
    def keep_verdict(_error: BaseException | None) -> None:
        # The only moment at which Flask has decided for certain and still knows the request.
        request.environ[VERDICT] = verdict()


def noted(
    app: Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]], path: str
) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    """Wrap whatever leads to apps that judge; what came to none of them is `not_the_app`."""
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


def verdict() -> Verdict:
    """What Flask made of the current request; a rule that it matched outranks all that followed."""
    rule = request.url_rule
    if rule is not None:
        return Verdict(where(rule) + rule.rule, rule.endpoint, "matched")
    error = request.routing_exception
    if isinstance(error, RequestRedirect):
        return Verdict(None, None, "redirect")
    if isinstance(error, MethodNotAllowed):
        return Verdict(None, None, "method_not_allowed")
    return Verdict(None, None, "unmatched")


def where(rule: Rule) -> str:
    """What stands before a rule that does not hold everywhere: its host, or the prefix of its app."""
    host = rule.host if rule.map.host_matching else ""
    if rule.subdomain:
        host = f"{rule.subdomain}.{current_app.config['SERVER_NAME']}"
    return (host or "") + request.script_root.removeprefix(request.environ[SERVED_AT])


def as_line(environ: WSGIEnvironment, status: int) -> bytes:
    """A request's line in the referee's file."""
    seen: Verdict = environ.get(VERDICT, NOT_THE_APP)
    truth = Truth(
        environ.get("HTTP_X_REQUEST_ID"),
        environ["REQUEST_METHOD"],
        environ.get("RAW_URI", ""),
        status,
        *seen,
    )
    return json.dumps(truth._asdict()).encode("ascii") + b"\n"
