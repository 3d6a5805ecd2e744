"""The router: from the bytes of a logged target to the label of what Flask matched."""

from __future__ import annotations

import json
import pickle
import random
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from referee import adapter_for, what_flask_matched
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from logstatsd.errors import AppError
from logstatsd.model.route import METHOD_NOT_ALLOWED, NOT_THE_APP, REDIRECT, UNMATCHED, Route
from logstatsd.routing import app as apps
from logstatsd.routing import router as routes
from logstatsd.routing.router import Router

if TYPE_CHECKING:
    from pathlib import Path


def app_of(*rules: str, **options: Any) -> Flask:
    app = Flask("shop", static_folder=None, **options)
    for rule in rules:
        app.add_url_rule(rule, rule, lambda **_: "")
    return app


def router_of(*rules: str, **options: Any) -> Router:
    return Router(apps.from_object(app_of(*rules)).snapshot(), **options)


def matched(rule: str) -> Route:
    return Route(rule, rule, "matched")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/users/7", matched("/users/<int:id>")),
        (b"/users/7?next=/files/a", matched("/users/<int:id>")),
        (b"/users/7#top?x", matched("/users/<int:id>")),
        (b"//users/7", matched("/users/<int:id>")),
        (b"///users/7", matched("/users/<int:id>")),
        (b"/users//7", REDIRECT),
        (b"/users/7/", UNMATCHED),
        (b"/users/x", UNMATCHED),
        (b"/us%65rs/%37", matched("/users/<int:id>")),
        (b"/users%2F7", matched("/users/<int:id>")),
        (b"/tags/a%2fb", UNMATCHED),
        (b"/tags/a+b%zz%", matched("/tags/<tag>")),
        (b"/tags/%3F%23", matched("/tags/<tag>")),
        (b"/tags/%FF\xff\xc3", matched("/tags/<tag>")),
        (b"/tags/caf\xc3\xa9", matched("/tags/<tag>")),
        (b"/tags/%0a", matched("/tags/<tag>")),
        (b"/tags/..", matched("/tags/<tag>")),
        (b"/files/a//b", matched("/files/<path:path>")),
        (b"/files/../users/7", matched("/files/<path:path>")),
        (b"/", matched("/")),
        (b"//", matched("/")),
        (b"", REDIRECT),
        (b"/lists", REDIRECT),
        (b"/lists/", matched("/lists/")),
        (b"http://shop.test/users/7", matched("/users/<int:id>")),
        (b"http://shop.test:80/users//7?x", REDIRECT),
        (b"http://shop.test", matched("/")),
        (b"http://shop.test?x", matched("/")),
        (b"users/7", matched("/users/<int:id>")),
        (b"*", UNMATCHED),
        (b"\x16\x03\x01\x00", UNMATCHED),
        (b"/users/" + b"9" * 5000, UNMATCHED),
    ],
)
def test_a_target_is_read_as_the_server_read_it(target: bytes, expected: Route) -> None:
    router = router_of("/", "/users/<int:id>", "/tags/<tag>", "/files/<path:path>", "/lists/")
    assert router.match("GET", target) == expected
    assert router.match("GET", target) == expected  # from memory


def test_methods_are_the_apps_or_http_s() -> None:
    app = app_of("/get")
    app.add_url_rule("/any", "any", methods=None, view_func=lambda: "")
    app.add_url_rule("/post", "post", methods=["POST", "PURGE"], view_func=lambda: "")
    router = Router(apps.from_object(app).snapshot())
    assert router.match("HEAD", b"/get") == router.match("OPTIONS", b"/get") == matched("/get")
    assert router.match("GET", b"/post") == METHOD_NOT_ALLOWED
    assert router.match("PURGE", b"/post") == Route("/post", "post", "matched")
    assert router.match("get", b"/get") == UNMATCHED
    assert router.match("CONNECT", b"shop.test:443") == UNMATCHED
    assert router.clean_method("PURGE") == "PURGE"
    assert router.clean_method("TRACE") == "TRACE"
    assert router.clean_method("X\x00") == routes.OTHER_METHOD


def test_a_websocket_rule_needs_a_websocket() -> None:
    app = app_of("/page")
    app.add_url_rule("/live", "live", websocket=True, view_func=lambda: "")
    router = Router(apps.from_object(app).snapshot())
    assert router.uses_websocket
    assert router.match("GET", b"/live") == UNMATCHED
    assert router.match("GET", b"/live", websocket=True).outcome == "matched"  # type: ignore[union-attr]
    assert not router_of("/page").uses_websocket


def test_a_host_is_in_the_label_where_a_rule_matched_on_it() -> None:
    app = Flask("shop", host_matching=True, static_host="cdn.test")
    app.add_url_rule("/x", "x", host="<shop>.shop.test:8080", view_func=lambda **_: "")
    router = Router(apps.from_object(app).snapshot())
    assert router.uses_host
    expected = Route("<shop>.shop.test:8080/x", "x", "matched")
    assert router.match("GET", b"/x", "Blue.Shop.test:8080") == expected
    assert router.match("GET", b"/x", "blue.shop.test") == UNMATCHED
    assert router.match("GET", b"/static/a.css", "cdn.test:80").rule == "cdn.test/static/<path:filename>"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "host",
    [
        "a..b", ".a", "a.", ".", "..", "", 64 * "x" + ".test", 300 * "x.", "\xfc..test", "\xff.test", "\x80",
        "xn--a", "xn--\xfc", "xn--" + 70 * "a", "[::1", "[::1]:80", "a:b:c", ":80", "a b", "a\x00b",
        5_000 * "\xe9",
    ],
)  # fmt: skip
def test_a_host_that_is_no_name_is_labelled_as_flask_answers_it(host: str) -> None:
    """Whether Python's codec for host names refuses it or not; a crash it is never."""
    by_host = Flask("shop", host_matching=True, static_host="cdn.test")
    by_host.add_url_rule("/x", "x", host="<path:host>", view_func=lambda **_: "")
    by_subdomain = Flask("shop", subdomain_matching=True, static_folder=None)
    by_subdomain.config["SERVER_NAME"] = "test"
    by_subdomain.add_url_rule("/x", "x", subdomain="<path:name>", view_func=lambda **_: "")
    for app in (by_host, by_subdomain):
        router = Router(apps.from_object(app).snapshot())
        expected = what_flask_matched(app, adapter_for(app, host), "GET", b"/x", websocket=False)
        if host:  # none in the log is taken for the site itself
            assert router.match("GET", b"/x", host) == expected
        else:
            router.match("GET", b"/x", host)


def test_subdomains_are_what_server_name_leaves_of_the_host() -> None:
    app = app_of("/x")
    app.config["SERVER_NAME"] = "shop.test"
    app.subdomain_matching = True
    app.add_url_rule("/x", "admin", subdomain="<team>.admin", view_func=lambda **_: "")
    router = Router(apps.from_object(app).snapshot())
    assert router.uses_host
    assert router.match("GET", b"/x", "a.admin.shop.test") == Route(
        "<team>.admin.shop.test/x", "admin", "matched"
    )
    assert router.match("GET", b"/x", "shop.test") == router.match("GET", b"/x") == matched("/x")
    assert router.match("GET", b"/x", "other.test") == UNMATCHED


def test_subdomain_rules_never_match_where_flask_does_not_look_at_the_host() -> None:
    app = app_of("/x")
    app.add_url_rule("/x", "admin", subdomain="admin", view_func=lambda: "")
    app.add_url_rule("/y", "other", subdomain="admin", view_func=lambda: "")
    router = Router(apps.from_object(app).snapshot())
    assert not router.uses_host
    assert router.match("GET", b"/x", "admin.shop.test") == matched("/x")
    assert router.match("GET", b"/y", "admin.shop.test") == UNMATCHED


def test_mounted_apps_are_found_as_the_dispatcher_finds_them() -> None:
    inner = DispatcherMiddleware(app_of("/in"), {"/deep": app_of("/x", "/")})
    tree = DispatcherMiddleware(app_of("/x"), {"/blog": inner, "/metrics": lambda environ, start: []})
    router = pickle.loads(pickle.dumps(Router(apps.from_object(tree).snapshot())))
    assert router.match("GET", b"/x") == Route("/x", "/x", "matched")
    assert router.match("GET", b"/blog/in") == Route("/blog/in", "/in", "matched")
    assert router.match("GET", b"/blog/deep/x?y") == Route("/blog/deep/x", "/x", "matched")
    assert router.match("GET", b"/blog/deep") == REDIRECT
    assert router.match("GET", b"/blog/x") == router.match("GET", b"/blogs/in") == UNMATCHED
    assert router.match("GET", b"/metrics/x") == NOT_THE_APP
    assert {route.rule for route in router.routes} == {"/x", "/blog/in", "/blog/deep/x", "/blog/deep/"}


@pytest.mark.parametrize(
    ("prefix", "normalised", "target", "expected"),
    [
        ("/pre", False, b"/pre/users/7?x", matched("/users/<int:id>")),
        ("/pre/", False, b"/pre/users/7", matched("/users/<int:id>")),
        ("/pre", False, b"/pre", REDIRECT),
        ("/pre/", False, b"/pre", NOT_THE_APP),
        ("/pre", False, b"/prefix/users/7", NOT_THE_APP),
        ("/pre", False, b"/users/7", NOT_THE_APP),
        ("/pre", False, b"/pre//users/7", matched("/users/<int:id>")),
        ("/pre", False, b"/pre/x/../users/7", UNMATCHED),
        ("/pre", True, b"/pre/x/../users//7", matched("/users/<int:id>")),
        ("/pre", True, b"/x/%2e%2e//%70re/users%2f7", matched("/users/<int:id>")),
        ("/pre", True, b"/pre", matched("/")),
        ("/pre/", True, b"/pre", NOT_THE_APP),
        ("/pre", True, b"/pre/users/.", REDIRECT),
        ("/pre", True, b"/pre/users/%2537", UNMATCHED),
        ("/pre", True, b"/pre/../../users/7", NOT_THE_APP),
        ("/pre", True, b"/pre/users/7%00", NOT_THE_APP),
        ("/pre", True, b"http://shop.test/pre/users/7", matched("/users/<int:id>")),
    ],
)
def test_a_prefix_is_taken_off_as_nginx_does(
    prefix: str, normalised: bool, target: bytes, expected: Route
) -> None:
    router = router_of("/", "/users/<int:id>", "/users/", strip_prefix=prefix, normalised_prefix=normalised)
    if target.endswith(b"/users/."):
        expected = matched("/users/")
    assert pickle.loads(pickle.dumps(router)).match("GET", target) == expected


def test_a_flood_of_targets_neither_grows_memory_nor_forgets_what_is_right() -> None:
    router = router_of("/users/<int:id>")
    for number in range(2 * routes.MAX_ANSWERS):
        router.match("GET", b"/users/%d" % number)
    assert len(router._memory) <= routes.MAX_ANSWERS
    before = len(router._memory)
    router.match("GET", b"/users/" + b"0" * 5000)
    assert len(router._memory) == before
    assert router.match("GET", b"/users/1") == matched("/users/<int:id>")


def test_many_siblings_are_told_apart_as_werkzeug_does() -> None:
    """Of the many patterns of a part, only those with its literal text are tried, in the same order."""
    shapes = ("<int:a>-x{}", "x{}-<int:a>", "<a>.{}", "x<a>{}", "({}<path:a>", "<a>({}", "{0}<int:a>-<b>{0}")
    app = app_of(*(f"/{shape.format(n)}" for n in range(12) for shape in shapes))
    adapter = app.url_map.bind("localhost")
    router = Router(apps.from_object(app).snapshot())
    chance = random.Random(3)
    for _ in range(3000):
        number = chance.randrange(14)
        path = "/" + chance.choice(shapes).format(number).replace("<int:a>", chance.choice("7a"))
        path = re.sub("<.*?>", lambda _: chance.choice(["7", "a", "a/b", "x1", ".2", "-x3"]), path)
        try:
            expected = str(adapter.match(path, return_rule=True)[0].rule)
        except NotFound:
            expected = UNMATCHED.rule
        answer = router.match("GET", path.encode())
        assert isinstance(answer, Route)
        assert answer.rule == expected, path


def test_deep_and_long_paths_are_no_trouble() -> None:
    router = router_of("/<a>/<b>/<path:rest>/", "/<path:rest>")
    for target in (b"/a" * 20_000, b"/" * 20_000, b"/a/" * 20_000, b"/%2e" * 20_000):
        assert router.walk("GET", target) in {REDIRECT, UNMATCHED, *router.routes}


def test_rules_are_listed_with_what_they_take_and_what_never_labels_is_left_out() -> None:
    app = app_of("/users/<int:id>")
    app.add_url_rule("/old", "old", redirect_to="/new")
    router = Router(apps.from_object(app).snapshot())
    assert router.app_name == "shop"
    assert router.routes == (matched("/users/<int:id>"),)
    user, old = router.rules
    assert (user.rule, user.methods, user.endpoint) == (
        "/users/<int:id>",
        ("GET", "HEAD", "OPTIONS"),
        "/users/<int:id>",
    )
    assert user.converters == (routes.Converter("id", "int", False),)
    assert not user.custom
    assert old.redirects
    assert router.match("GET", b"/old") == REDIRECT


def test_a_snapshot_survives_its_file(tmp_path: Path) -> None:
    snapshot = apps.from_object(app_of("/caf\u00e9/<int(min=2):id>")).snapshot()
    path = tmp_path / "routes.json"
    path.write_text(routes.dump_snapshot(snapshot), encoding="utf-8")
    assert routes.read_snapshot(path) == snapshot
    router = Router(routes.read_snapshot(str(path)))
    assert router.match("GET", b"/caf%C3%A9/7") == matched("/caf\u00e9/<int(min=2):id>")
    assert router.match("GET", b"/caf%C3%A9/1") == UNMATCHED


def broken(path: tuple[str | int, ...], value: object) -> str:
    """A snapshot with one thing in it replaced, or removed."""
    data: Any = apps.from_object(app_of("/users/<int:id>")).snapshot()
    place = data
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(data)


RULE = ("mounts", 0, "rules", 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[1]", "no 'logstatsd_routes'"),
        ("{}", "no 'logstatsd_routes'"),
        (broken(("logstatsd_routes",), 2), "version 2"),
        (broken(("mounts",), None), "mounts"),
        (broken(("mounts",), 7), "top level"),
        (broken((*RULE, "endpoint"), None), "(/users/<int:id>): KeyError: 'endpoint'"),
        (broken((*RULE, "methods"), "GET"), "'methods' must be a list"),
        (broken((*RULE, "parts"), 7), "rule 0"),
        (broken((*RULE, "parts", 3, "pattern"), "("), "rule 0"),
        (broken((*RULE, "parts", 3, "groups"), [2]), "groups"),
        (broken((*RULE, "converters", 0, "value"), "magic"), "magic"),
        (broken((*RULE, "converters", 0, "min"), "2"), "bound"),
        (broken(("mounts", 0, "binding", "to"), "x"), "binding"),
        (broken(("mounts", 0, "rules"), [7]), "mount 0"),
    ],
)
def test_a_broken_snapshot_is_one_line(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    path.write_text(text)
    with pytest.raises(AppError) as raised:
        Router(routes.read_snapshot(path))
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "logstatsd routes" in str(raised.value)


def test_a_missing_snapshot_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(AppError, match=r"none\.json: cannot read the routes: No such file"):
        routes.read_snapshot(tmp_path / "none.json")


def test_a_router_needs_neither_flask_nor_werkzeug() -> None:
    code = (
        "import sys, logstatsd.routing.router;"
        "sys.exit(bool({'flask', 'werkzeug', 'click'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
