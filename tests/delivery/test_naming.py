"""Names of a request's metrics; none can hold anything that a server would act on."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from datadog.util.format import normalize_tags
from hypothesis import given
from hypothesis import strategies as st

from logstatsd.delivery.naming import MAX_CHARS, Metric, Naming
from logstatsd.errors import OptionError
from logstatsd.model.route import METHOD_NOT_ALLOWED, NOT_THE_APP, REDIRECT, UNMATCHED, Route

USERS = Route("/users/<int:id>", "users.get", "matched")
routes = st.builds(Route, st.text(), st.text() | st.none(), st.just("matched")) | st.sampled_from(
    [UNMATCHED, METHOD_NOT_ALLOWED, REDIRECT, NOT_THE_APP]
)


def test_a_matched_request_has_its_endpoint_and_its_rule_as_the_datadog_client_would_write_it() -> None:
    assert Naming("shop").metrics(USERS, "GET", 200) == (
        Metric(
            "shop.api.request",
            ("http_method:GET", "http_status_code:200", "endpoint:users.get", "url_rule:/users/_int:id_"),
        ),
    )


@pytest.mark.parametrize("route", [UNMATCHED, METHOD_NOT_ALLOWED, REDIRECT, NOT_THE_APP])
def test_without_a_rule_there_is_no_endpoint_and_the_outcome_stands_for_the_rule(route: Route) -> None:
    (metric,) = Naming("shop").metrics(route, "GET", 404)
    assert metric.tags == ("http_method:GET", "http_status_code:404", f"url_rule:{route.outcome}")


def test_per_endpoint_adds_a_metric_named_after_the_endpoint() -> None:
    naming = Naming("shop", prefix="acme", per_endpoint=True, tags=("team:web",))
    request, endpoint = naming.metrics(USERS, "GET", 200)
    assert request.name == "acme.shop.api.request"
    assert endpoint == Metric("acme.users.get", ("http_method:GET", "http_status_code:200", "team:web"))
    assert len(naming.metrics(UNMATCHED, "GET", 404)) == 1


def test_cpu_time_has_the_same_tags_under_another_name() -> None:
    naming = Naming("shop", per_endpoint=True)
    wall, cpu = naming.metrics(USERS, "GET", 200), naming.metrics(USERS, "GET", 200, cpu=True)
    assert [metric.name for metric in cpu] == ["shop.api.request.cpu", "users.get.cpu"]
    assert [metric.tags for metric in cpu] == [metric.tags for metric in wall]


def test_otel_has_its_own_name_attributes_and_unit() -> None:
    naming = Naming("shop", scheme="otel")
    assert naming.metrics(USERS, "GET", 200) == (
        Metric(
            "http.server.request.duration",
            ("http.request.method:GET", "http.response.status_code:200", "http.route:/users/_int:id_"),
        ),
    )
    assert (naming.unit, naming.wire_type) == ("s", "distribution")
    assert (Naming("shop").unit, Naming("shop").wire_type) == ("ms", "timing")


def test_series_beyond_the_limit_fold_into_one() -> None:
    assert Naming("shop", tags=("team:web",)).overflow() == Metric(
        "shop.api.request", ("url_rule:overflow", "team:web")
    )


@pytest.mark.parametrize(
    ("app", "name"),
    [
        ("my-app", "my_app.api.request"),
        ("2048", "api.request"),
        ("__main__", "main__.api.request"),
        ("a..b.", "a.b.api.request"),
        ("", "api.request"),
        ("größe", "gr__e.api.request"),
        ("x" * 300, "x" * 188 + ".api.request"),
    ],
)
def test_a_name_is_what_datadog_would_make_of_it(app: str, name: str) -> None:
    (metric,) = Naming(app).metrics(USERS, "GET", 200)
    assert metric.name == name


@pytest.mark.parametrize("tag", ["host:a", "Device:a", "source:a", "ho st", "team:", ":x", "url_rule:/x"])
def test_a_tag_that_would_mislead_is_refused(tag: str) -> None:
    with pytest.raises(OptionError, match="--tag"):
        Naming("shop", tags=(tag,))


def test_a_tag_value_may_hold_colons() -> None:
    (metric,) = Naming("shop", tags=("image:web:1.2",)).metrics(UNMATCHED, "GET", 404)
    assert metric.tags[-1] == "image:web:1.2"


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(OptionError, match="flask, otel"):
        Naming("shop", scheme="statsd")


@given(
    st.text(),
    st.text(),
    st.sampled_from(["flask", "otel"]),
    routes,
    st.text(),
    st.integers(),
    st.booleans(),
)
def test_whatever_the_log_and_the_app_hold_names_and_tags_are_safe_and_bounded(
    app: str, prefix: str, scheme: str, route: Route, method: str, status: int, cpu: bool
) -> None:
    naming = Naming(app, scheme, prefix, per_endpoint=True)
    for name, tags in (*naming.metrics(route, method, status, cpu), naming.overflow(cpu)):
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*", name), name
        assert len(name) <= MAX_CHARS
        for tag in tags:
            assert re.fullmatch(r"[a-z._]+:[\w\-:/.]*", tag), tag
            assert len(tag) <= MAX_CHARS
        assert normalize_tags(list(tags)) == list(tags), (
            "the client would change a tag, and live would differ"
        )


def test_naming_is_light_enough_for_every_worker_of_an_app() -> None:
    code = "import sys, logstatsd.delivery.naming; print('datadog' in sys.modules, 'flask' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
