"""The middleware around odd apps: what is odd costs its own series a label at most, never all metrics."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import odd_converters
import pytest
from flask import Flask, Response
from live import Recorder, served
from odd_converters import CONVERTERS, app_of
from werkzeug.routing import Map, Rule

from logstatsd import StatsdMiddleware

HOSTS = [
    "a..b",
    "x" * 70 + ".test",
    ".",
    "..",
    "\xff..\xfe",
    "xn--\x80",
    "[::1",
    "a" * 5_000,
    "",
    "shop.test:99999999",
]


def rules(statsd: Recorder) -> list[str]:
    return [tags["url_rule"] for tags in statsd.tags]


@pytest.mark.parametrize("name", CONVERTERS)
def test_an_odd_converter_never_costs_the_metrics_of_others(name: str) -> None:
    statsd, app = Recorder(), app_of({name: CONVERTERS[name]})
    timed = StatsdMiddleware(app, statsd=statsd)
    app.testing = False

    for path in ("/plain", f"/{name}/7", "/number/2", "/none"):
        with contextlib.suppress(SystemExit):  # of a converter's
            served(timed, path)

    assert rules(statsd)[0] == "/plain"
    assert rules(statsd)[2:] == ["/number/_int_min_2_:n_", "unmatched"]
    assert len(statsd.walls) == 4


def test_all_of_them_together() -> None:
    statsd = Recorder()
    timed = StatsdMiddleware(odd_converters.app, statsd=statsd)
    for name in CONVERTERS:
        with contextlib.suppress(SystemExit):
            served(timed, f"/{name}/7")
    served(timed, "/plain")
    assert rules(statsd)[-1] == "/plain"
    assert len(statsd.walls) == len(CONVERTERS) + 1


@pytest.mark.parametrize(
    "options", [{}, {"host_matching": True, "static_host": "static.test"}, {"subdomain_matching": True}]
)
@pytest.mark.filterwarnings("ignore:Current server name")
def test_hosts_that_are_no_names_cost_nothing(options: dict[str, Any]) -> None:
    statsd, app = Recorder(), Flask("shop", **options)
    if "subdomain_matching" in options:
        app.config["SERVER_NAME"] = "shop.test"
    app.add_url_rule("/x", "x", lambda: "", host="<host>" if "host_matching" in options else None)
    timed = StatsdMiddleware(app, statsd=statsd)
    for host in HOSTS:
        served(timed, "/x", HTTP_HOST=host)
        served(timed, "/none", HTTP_HOST=host)
    assert len(statsd.walls) == 2 * len(HOSTS)
    assert set(rules(statsd)) <= {"/x", "_host_/x", "unmatched"}


def view() -> Response:
    return Response("ok")


class Plain:
    """An app of Werkzeug's without Flask, whose endpoints are functions."""

    def __init__(self) -> None:
        self.url_map = Map([Rule("/first", endpoint=view)])
        self.tells = False

    def wsgi_app(self, environ: Any, start_response: Any) -> Any:
        rule, _ = self.url_map.bind_to_environ(environ).match(return_rule=True)
        if self.tells:
            environ["werkzeug.request"] = SimpleNamespace(url_rule=rule)
        return rule.endpoint()(environ, start_response)

    __call__ = wsgi_app


def test_a_function_as_an_endpoint_is_the_same_in_every_run() -> None:
    """Also where the app itself tells the rule, and that came later."""
    statsd, app = Recorder(), Plain()
    timed = StatsdMiddleware(app, statsd=statsd)
    served(timed, "/first")
    app.tells = True
    app.url_map.add(Rule("/later", endpoint=view))
    served(timed, "/later")
    assert rules(statsd) == ["/first", "/later"]
    assert len({tags["endpoint"] for tags in statsd.tags}) == 1
    assert "0x" not in str(statsd.tags)
