"""Odd converters cost their own rules a proof at most, never the app its labels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import odd_converters
import pytest
import twins
from odd_converters import CONVERTERS, app_of, paths_of

from logstatsd.formats.logformat import parse_layout
from logstatsd.model.route import UNMATCHED, Route, Undecided
from logstatsd.routing import app as apps
from logstatsd.routing.app import routing_failure
from logstatsd.routing.router import Router
from logstatsd.routing.snapshot import dump_snapshot
from logstatsd.routing.tree import tree
from logstatsd.scan import native

if TYPE_CHECKING:
    from flask import Flask


def by_flask(app: Flask, path: str) -> Route:
    """Serve a request and return what Flask matched; an error of the app's is a 500 without a rule."""
    context = app.test_request_context(path)
    try:
        context.push()
    except Exception:
        return UNMATCHED
    try:
        rule, failure = context.request.url_rule, context.request.routing_exception
        if rule is not None:
            return Route(rule.rule, rule.endpoint, "matched")
        assert failure is not None
        return routing_failure(failure)
    finally:
        context.pop()


def by_us(loaded: apps.LoadedApp, router: Router, path: str) -> tuple[Route, bool]:
    answer = router.match("GET", path.encode())
    return loaded.resolve(answer) if isinstance(answer, Undecided) else (answer, True)


@pytest.mark.parametrize("name", CONVERTERS)
def test_what_is_odd_about_a_converter_leaves_its_rules_to_the_app_at_most(name: str) -> None:
    app = app_of({name: CONVERTERS[name]})
    loaded = apps.from_object(app)
    router = Router(json.loads(dump_snapshot(loaded.snapshot())))
    for path in paths_of({name: CONVERTERS[name]}):
        # asked about one request, a converter cannot have failed before
        route, proven = by_us(apps.from_object(app), router, path)
        if proven:
            assert route == by_flask(app, path), path
        else:
            assert route.rule.startswith(f"/{name}/"), path
    assert by_us(loaded, router, "/plain") == (Route("/plain", "plain", "matched"), True)
    assert by_us(loaded, router, "/number/1") == (UNMATCHED, True)


def test_all_of_them_together_cost_the_others_nothing() -> None:
    loaded = apps.from_object(odd_converters.app)
    router = Router(loaded.snapshot())
    labels = {path: by_us(loaded, router, path) for path in paths_of(CONVERTERS)}
    assert labels["/plain"] == (Route("/plain", "plain", "matched"), True)
    assert labels["/number/2"] == (Route("/number/<int(min=2):n>", "number", "matched"), True)
    assert {route.rule for route, _ in labels.values()} >= {
        rule.rule for rule in loaded.rules() if "nopattern" not in rule.rule and "/and/" not in rule.rule
    } - {f"/{name}/<{name}:value>" for name, kind in CONVERTERS.items() if kind in UNSERVED}


UNSERVED = {odd_converters.NoPattern, odd_converters.UnhashableNumber, odd_converters.OddDigits}
"""Those whose every request Flask answers with 404 or 500."""


def test_a_converter_has_the_name_that_rules_use_it_by() -> None:
    router = Router(apps.from_object(odd_converters.app).snapshot())
    shown = {each.name for info in router.rules for each in info.converters}
    assert set(CONVERTERS) - shown == {"partial"}, "a partial is no class that could be found by its name"


def test_classes_that_share_their_own_name_are_told_apart() -> None:
    """One that fails leaves the other to be asked."""

    def converter(good: bool) -> Any:
        class Made(odd_converters.Good):
            def to_python(self, value: str) -> str:
                if not good:
                    raise RuntimeError("no database")
                return super().to_python(value)

        return Made

    loaded = apps.from_object(app_of({"bad": converter(good=False), "good": converter(good=True)}))
    router = Router(loaded.snapshot())
    assert by_us(loaded, router, "/bad/x") == (Route("/bad/<bad:value>", "bad", "matched"), False)
    assert by_us(loaded, router, "/good/no") == (UNMATCHED, True)


def test_defaults_that_cannot_be_compared_leave_their_rules_to_the_app() -> None:
    class Array:
        def __eq__(self, other: object) -> bool:
            raise ValueError("the truth value of an array is ambiguous")

        __hash__ = None  # type: ignore[assignment]

    app = app_of({})
    app.add_url_rule("/first", "twins", defaults={"page": Array(), "kind": 1})
    app.add_url_rule("/<int:kind>", "twins", defaults={"page": Array()})
    loaded = apps.from_object(app)
    router = Router(loaded.snapshot())
    assert by_us(loaded, router, "/plain")[0].rule == "/plain"
    assert isinstance(router.match("GET", b"/7"), Undecided)


def test_a_broken_pattern_breaks_what_flask_tries_after_it_and_nothing_else() -> None:
    app = app_of({"broken": odd_converters.NoPattern})
    for number in range(20):  # more than are tried one after the other
        app.add_url_rule(f"/broken/v{number}-<path:p>", f"v{number}", odd_converters.view)
    loaded = apps.from_object(app)
    router = Router(loaded.snapshot())
    for path in ("/plain", "/broken/x", "/broken/v3-x", "/broken/v3-x/y", "/broken", "/none"):
        assert by_us(loaded, router, path) == (by_flask(app, path), True), path


def test_endpoints_that_are_functions_are_the_same_in_every_run() -> None:
    def view() -> None: ...

    class Viewer:
        def __call__(self) -> None: ...

    from functools import partial

    from werkzeug.routing import Map, Rule

    class Plain:
        """An app of Werkzeug's without Flask."""

    endpoints = [
        view,
        lambda: None,
        Viewer,
        Viewer(),
        Viewer().__call__,
        partial(view),
        (view, 1),
        7,
        None,
        print,
    ]
    plain = Plain()
    plain.url_map = Map(  # type: ignore[attr-defined]
        [Rule(f"/{number}", endpoint=endpoint) for number, endpoint in enumerate(endpoints)]
    )
    router = Router(apps.from_object(plain).snapshot())
    shown = [info.endpoint for info in router.rules]
    assert not [name for name in shown if "0x" in name]
    assert shown[0].endswith("test_endpoints_that_are_functions_are_the_same_in_every_run.<locals>.view")
    assert all(name for name in shown)


@pytest.mark.parametrize("name", CONVERTERS)
def test_the_compiled_scanner_leaves_to_python_what_is_odd(name: str) -> None:
    converters = {name: CONVERTERS[name]}
    router = Router(apps.from_object(app_of(converters)).snapshot())
    assert len(tree(router)["mounts"]) == 1
    if native.WHY_NOT:
        pytest.skip("the compiled scanner is not installed")
    log = "".join(f'"GET {path} HTTP/1.1" 200 0.001\n' for path in paths_of(converters)).encode()
    twins.compare(parse_layout('"$request" $status $request_time'), router, log)
