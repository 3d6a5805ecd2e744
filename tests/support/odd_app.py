"""Flask apps with every odd kind of rule, to be served by real servers with the referee inside.

    gunicorn 'odd_app:served("odd", "/tmp/notes.jsonl")'

serves one of `APPS`. What a log is labelled by is one of `SPECS`: the same apps, as a user would name them.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, NoReturn

from flask import Flask, Response, abort, request
from referee import judge, noted
from werkzeug.exceptions import Gone
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import BaseConverter, Rule, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    Wsgi = Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]

DATABASE = "ODD_DATABASE"
"""The environment variable without which the converter that needs a database fails."""

GATE = "ODD_GATE"
"""Where the view at /slow/… says that it is at work, and waits to be let go on: a Unix socket's path."""

# --- converters -----------------------------------------------------------------------------------------


class Even(BaseConverter):
    """Validates: even numbers only."""

    regex = "[0-9]+"

    def to_python(self, value: str) -> int:
        if int(value) % 2:
            raise ValidationError
        return int(value)


class Stocked(BaseConverter):
    """Needs a database, which is only there where the app is served."""

    def to_python(self, value: str) -> str:
        if DATABASE not in os.environ:
            raise RuntimeError("no database")
        return value


class Former(BaseConverter):
    """Answers by itself, with an HTTPException."""

    def to_python(self, value: str) -> str:
        if value.startswith("old"):
            raise Gone
        return value


class Dated(BaseConverter):
    """Takes several parts of the path, and validates them."""

    part_isolating = False
    regex = r"\d{4}/\d{1,2}"

    def to_python(self, value: str) -> tuple[int, int]:
        year, month = map(int, value.split("/"))
        if not 1 <= month <= 12:
            raise ValidationError
        return year, month


class Code(BaseConverter):
    """Nothing but a pattern of its own."""

    regex = "[A-Z]{2}-[0-9]+"


class Tree(BaseConverter):
    """A pattern with slashes in it."""

    part_isolating = False
    regex = "[a-z]+(?:/[a-z]+)*"


CONVERTERS = {"even": Even, "stocked": Stocked, "former": Former, "dated": Dated, "code": Code, "tree": Tree}

# --- the app with the odd rules -------------------------------------------------------------------------


def view(**values: object) -> str:
    """Say what was in the path."""
    return repr(values)


def upgraded(**_values: object) -> Response:
    """Answer as a websocket server does at first; gunicorn closes the connection then."""
    return Response(status=101, headers={"Upgrade": "websocket", "Connection": "Upgrade"})


def failing() -> NoReturn:
    raise RuntimeError("as it should")


def slow(name: str) -> str:
    """Tell whoever listens at the gate that a request is at work, and wait until it lets go."""
    with socket.socket(socket.AF_UNIX) as gate:
        gate.connect(os.environ[GATE])
        gate.recv(1)
    return name


def moved(_adapter: object, n: int) -> str:
    return f"/new/{n}"


def stop() -> Response | None:
    """Stop a request as an app does that wants a login: nothing gets to the view."""
    return Response("who are you?", 401) if request.path == "/stopped" else None


PLAIN = [
    *("/", "/leaf", "/branch/", "/branch/<name>", "/stopped", "/unicode/é/<name>", "/a b", "/dot/./x"),
    "/down/<name>",
    *("/files/<path:p>", "/files/<path:p>/edit", "/files/<path:p>/v<int:v>"),
    "/between/<path:p>/and/<path:q>/",
    *("/int/<int:n>", "/int/small/<int(min=2, max=9):n>", "/int/signed/<int(signed=True):n>"),
    *("/int/fixed/<int(fixed_digits=4):n>", "/float/<float:x>", "/float/signed/<float(signed=True):x>"),
    *("/float/bounded/<float(min=0.5, max=1.5):x>", "/uuid/<uuid:u>", "/uuid/<uuid:u>/parts/<int:n>"),
    *("/any/<any(red, 'blue green', x):c>", "/any/<any(red, 'blue green', x):c>/<c2>"),
    *("/string/<string(length=3):s>", "/string/most/<string(minlength=2, maxlength=4):s>"),
    *("/part-<int:a>.<b>.html", "/part-<int:a>.<int:b>.txt", "/v<float:version>/<name>"),
    *("/custom/even/<even:n>", "/custom/even/<even:n>/more", "/custom/even/<name>/less"),
    *("/custom/stock/<stocked:item>", "/custom/former/<former:page>", "/custom/dated/<dated:d>/"),
    *("/code/<code:c>", "/tree/<tree:t>", "/tree/<tree:t>/leaf"),
]  # fmt: skip


def make_odd() -> Flask:
    """Build the app with every odd kind of rule."""
    odd = Flask("odd")
    odd.url_map.converters.update(CONVERTERS)
    odd.before_request(stop)
    for rule in PLAIN:
        odd.add_url_rule(rule, rule, view)
    rules: list[tuple[str, dict[str, Any]]] = [
        ("/loose/", {"strict_slashes": False}),
        ("/looseleaf", {"strict_slashes": False}),
        ("/unmerged/<x>", {"merge_slashes": False}),
        ("/raw//twice/<path:p>", {"merge_slashes": False}),
        ("/new/<int:n>", {"endpoint": "new"}),
        ("/older/<int:n>", {"endpoint": "new", "alias": True}),
        ("/moved/<int:n>", {"redirect_to": "/new/<n>"}),
        ("/called/<int:n>", {"redirect_to": moved}),
        ("/pages/", {"endpoint": "pages", "defaults": {"page": 1}}),
        ("/pages/<int:page>", {"endpoint": "pages"}),
        ("/only/post", {"methods": ["POST"]}),
        ("/verbs/<int:n>", {"endpoint": "verbs_get", "methods": ["GET"]}),
        ("/verbs/<int:n>", {"endpoint": "verbs_put", "methods": ["PUT", "DELETE"]}),
        ("/purge", {"methods": ["PURGE"]}),
        ("/no/options", {"methods": ["GET"], "provide_automatic_options": False}),
        ("/built", {"build_only": True}),
    ]
    for rule, options in rules:
        odd.add_url_rule(rule, options.pop("endpoint", rule), view, **options)
    odd.add_url_rule("/failing", "failing", failing)
    odd.add_url_rule("/aborted/<int:code>", "aborted", abort)
    odd.add_url_rule("/slow/<name>", "slow", slow)
    # Flask's add_url_rule gives every rule methods and knows no websockets.
    for each in (
        Rule("/everything", endpoint="everything"),
        Rule("/socket/<name>", endpoint="socket", websocket=True),
        Rule("/both", endpoint="both_http", methods=["GET"]),
        Rule("/both", endpoint="both_socket", websocket=True),
    ):
        odd.url_map.add(each)
        odd.view_functions[each.endpoint] = upgraded if each.websocket else view
    return odd


# --- the others -----------------------------------------------------------------------------------------


def make_hosts() -> Flask:
    """An app that tells hosts apart."""
    hosts = Flask("hosts", host_matching=True, static_host="static.test")
    for host, rule in (
        ("www.test", "/"),
        ("www.test", "/x/<int:n>"),
        ("api.test:8080", "/x/<int:n>"),
        ("<user>.blog.test", "/"),
        ("<user>.blog.test", "/x/<name>/"),
        ("<int:n>.<user>.test", "/x/"),
        ("xn--bcher-kva.test", "/x"),
    ):
        hosts.add_url_rule(rule, f"{host} {rule}", view, host=host)
    return hosts


def make_subdomains() -> Flask:
    """An app that tells subdomains apart."""
    subdomains = Flask("subdomains", subdomain_matching=True)
    subdomains.config["SERVER_NAME"] = "shop.test"
    subdomains.add_url_rule("/", "home", view)
    subdomains.add_url_rule("/x/<int:n>", "x", view)
    subdomains.add_url_rule("/x/<int:n>", "api_x", view, subdomain="api")
    subdomains.add_url_rule("/x/", "user_x", view, subdomain="<user>")
    return subdomains


def make_part(name: str) -> Flask:
    """One of the apps that are mounted."""
    part = Flask(name)
    part.add_url_rule("/", f"{name}_home", view)
    part.add_url_rule("/items/<int:n>", f"{name}_item", view)
    part.add_url_rule("/own/", name, view)
    return part


def make_catching() -> Flask:
    """An app that takes every path, some of them by every method."""
    catching = Flask("catching", static_folder=None)
    catching.add_url_rule("/<path:p>", "path", view)
    catching.add_url_rule("/", "root", view, methods=["GET", "CONNECT"])
    catching.url_map.add(Rule("/<int:port>", endpoint="port"))
    catching.view_functions["port"] = view
    return catching


class Sold(BaseConverter):
    """Asks a database, and validates by what that says."""

    def to_python(self, value: str) -> str:
        if DATABASE not in os.environ:
            raise RuntimeError("no database")
        if value == "sold":
            raise ValidationError
        return value


def forbidden(**_values: object) -> Response:
    return Response("not you", 403)


def make_unclear() -> Flask:
    """An app of whose requests a log cannot tell all: see docs/labels.md."""
    unclear = Flask("unclear")
    unclear.config["TRUSTED_HOSTS"] = ["shop.example"]
    unclear.url_map.converters["sold"] = Sold
    for rule in ("/leaf", "/branch/<name>", "/stock/<sold:item>"):
        unclear.add_url_rule(rule, rule, view)
    unclear.add_url_rule("/put", "put", view, methods=["PUT"])
    unclear.add_url_rule("/read", "read", view)
    unclear.add_url_rule("/read", "write", view, methods=["POST"])
    unclear.add_url_rule("/aborted/<int:code>", "aborted", abort)
    unclear.url_map.add(Rule("/socket/<name>", endpoint="socket", websocket=True))
    unclear.view_functions["socket"] = forbidden
    return unclear


class Rewriting:
    """A middleware that changes what the app is asked for."""

    def __init__(self, app: Wsgi) -> None:
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["PATH_INFO"] = environ["PATH_INFO"].replace("/rewritten/", "/branch/")
        environ["REQUEST_METHOD"] = environ.get("HTTP_X_HTTP_METHOD_OVERRIDE", environ["REQUEST_METHOD"])
        return self.app(environ, start_response)


odd, hosts, subdomains, unclear = make_odd(), make_hosts(), make_subdomains(), make_unclear()
catching = make_catching()
front, shop, blog, news = map(make_part, ("front", "shop", "blog", "news"))
proxied, rewriting = ProxyFix(odd), Rewriting(unclear)


def nothing(_environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """A WSGI app that is not Flask's."""
    start_response("200 OK", [("Content-Length", "0")])
    return []


MOUNTS: dict[str, Any] = {"/shop": shop, "/blog": blog, "/blog/news": news, "/metrics": nothing}
mounted = DispatcherMiddleware(front, MOUNTS)

APPS: dict[str, Any] = {
    "odd": odd,
    "proxied": proxied,
    "hosts": hosts,
    "subdomains": subdomains,
    "mounted": mounted,
    "catching": catching,
    "rewriting": rewriting,
}
SPECS = {
    **{name: [f"odd_app:{name}"] for name in APPS},
    "mounts": [
        *("odd_app:front", "/shop=odd_app:shop", "/blog=odd_app:blog", "/blog/news=odd_app:news"),
    ],
}  # fmt: skip


def served(name: str, path: str) -> Wsgi:
    """One of APPS, with each request noted in the file at `path`."""
    for app in (odd, catching, hosts, subdomains, unclear, front, shop, blog, news):
        judge(app)
    return noted(APPS[name], path)
