"""The middleware: one timing a request, named and tagged as a replay would, never in its way."""

from __future__ import annotations

import inspect
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import shop
from flask import Flask, Response, abort, request, send_file
from hypothesis import given
from hypothesis import strategies as st
from live import Broken, Recorder, served
from places import DOCS
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import Map
from werkzeug.test import Client, EnvironBuilder, run_wsgi_app

from logstatsd import StatsdMiddleware
from logstatsd.errors import AppError, OptionError
from logstatsd.live.middleware import CPU_HEADER, CPU_KEY
from logstatsd.routing.app import from_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from typing import Any


@pytest.fixture
def statsd() -> Recorder:
    return Recorder()


def tags(method: str, status: int, rule: str, endpoint: str | None = None) -> dict[str, str]:
    found = {"http_method": method, "http_status_code": str(status)}
    return found | ({"endpoint": endpoint} if endpoint else {}) | {"url_rule": rule}


# --- names and labels -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", tags("GET", 200, "/", "pages.home")),
        ("HEAD", "/about/", tags("HEAD", 200, "/about/", "pages.about")),
        ("GET", "/api/users/ann", tags("GET", 200, "/api/users/_username_", "api.customers.user")),
        ("GET", "/admin/", tags("GET", 401, "/admin/", "admin.dashboard")),
        ("GET", "/static/nothing.css", tags("GET", 404, "/static/_path:filename_", "static")),
        ("GET", "/about", tags("GET", 308, "redirect")),
        ("GET", "/shop/7", tags("GET", 308, "redirect")),
        ("DELETE", "/about/", tags("DELETE", 405, "method_not_allowed")),
        ("GET", "/.env", tags("GET", 404, "unmatched")),
        ("GET", "/a%b?c#d\xff", tags("GET", 404, "unmatched")),
        ("BREW", "/about/", tags("_OTHER", 405, "method_not_allowed")),
        (
            "GET",
            "/api/coupons/STAFF",
            tags("GET", 200, "/api/coupons/_coupon:percent_", "api.customers.coupon"),
        ),
        ("GET", "/api/coupons/FREE", tags("GET", 404, "unmatched")),
        ("GET", "/api/markets/su/offers", tags("GET", 410, "unmatched")),
    ],
)
def test_each_request_is_labelled_with_what_flask_matched(
    statsd: Recorder, method: str, path: str, expected: dict[str, str]
) -> None:
    app = StatsdMiddleware(shop.create_app(), statsd=statsd)

    served(app, method=method, PATH_INFO=path)

    assert statsd.tags == [expected]
    assert [each.name for each in statsd.sent] == ["shop.api.request", "shop.api.request.cpu"]


def test_names_and_tags_are_as_the_options_of_replay_make_them(statsd: Recorder) -> None:
    app = StatsdMiddleware(
        shop.create_app(),
        statsd=statsd,
        app_name="front",
        prefix="eu",
        tags=["team:web"],
        per_endpoint=True,
        sample_rate=0.5,
    )

    served(app, "/health")

    names = ["eu.front.api.request", "eu.pages.health", "eu.front.api.request.cpu", "eu.pages.health.cpu"]
    assert [each.name for each in statsd.sent] == names
    assert all(each.tags["team"] == "web" and each.sample_rate == 0.5 for each in statsd.sent)


def test_opentelemetrys_scheme_is_a_distribution_of_seconds_without_exponents(statsd: Recorder) -> None:
    app = StatsdMiddleware(shop.create_app(), statsd=statsd, scheme="otel")

    served(app, "/health")

    [wall] = statsd.walls
    assert wall.name == "http.server.request.duration"
    assert wall.tags["http.route"] == "/health"
    assert 0 < wall.value < 5
    assert "e" not in str(wall.value).lower()


def test_a_factorys_app_is_wrapped_by_init_app_as_often_as_it_makes_one(statsd: Recorder) -> None:
    extension = StatsdMiddleware(statsd=statsd, prefix="eu")
    apps = [shop.create_app(), shop.create_app()]
    for app in apps:
        extension.init_app(app)

    for app in apps:
        served(app, "/health")

    assert [each.name for each in statsd.walls] == ["eu.shop.api.request"] * 2


def test_rules_that_are_added_after_the_wrapping_are_known(statsd: Recorder) -> None:
    app = Flask("late")
    app.wsgi_app = StatsdMiddleware(app, statsd=statsd)  # type: ignore[method-assign]
    app.add_url_rule("/late/<int:object>", "late", str)

    served(app, "/late/7")
    app.url_map.add(app.url_rule_class("/later", endpoint="late", methods=["GET"], defaults={"object": 1}))
    served(app, "/later")

    assert [each["url_rule"] for each in statsd.tags] == ["/late/_int:object_", "/later"]


# --- other middleware -----------------------------------------------------------------------------------


def mounted(statsd: Recorder) -> StatsdMiddleware:
    """Two apps, one of them mounted twice, and something that is no Flask app."""
    site, api = Flask("site"), Flask("api")
    for app in (site, api):
        app.add_url_rule("/users/<name>", "user", lambda name: name)

    def plain(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("204 No Content", [])
        return []

    return StatsdMiddleware(
        DispatcherMiddleware(site, {"/v1": api, "/v2": api, "/plain": plain}), statsd=statsd
    )


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("/users/ann", "/users/_name_"),
        ("/v1/users/ann", "/v1/users/_name_"),
        ("/v2/users/ann", "/v2/users/_name_"),
        ("/v1/nothing", "unmatched"),
        ("/plain/x", "not_the_app"),
    ],
)
def test_behind_a_dispatcher_labels_have_the_prefix_of_the_mount(
    statsd: Recorder, path: str, rule: str
) -> None:
    served(mounted(statsd), path)

    assert [each["url_rule"] for each in statsd.tags] == [rule]
    assert statsd.walls[0].name == "site.api.request"


def test_a_replay_finds_the_apps_through_the_middleware(statsd: Recorder) -> None:
    measured = mounted(statsd)

    assert from_object(measured).snapshot() == from_object(measured.wsgi_app).snapshot()


@pytest.mark.parametrize("inside", [True, False])
def test_proxy_fix_makes_no_difference(statsd: Recorder, inside: bool) -> None:
    app = shop.create_app()
    if inside:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1)  # type: ignore[method-assign]
    app.wsgi_app = StatsdMiddleware(app, statsd=statsd)  # type: ignore[method-assign]
    if not inside:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1)  # type: ignore[method-assign]

    served(app, "/api/users/ann", HTTP_X_FORWARDED_PREFIX="/behind")

    assert statsd.tags == [tags("GET", 200, "/api/users/_username_", "api.customers.user")]


def test_an_environ_that_is_copied_on_the_way_makes_no_difference(statsd: Recorder) -> None:
    inner = shop.create_app()

    class Copying:
        app = inner

        def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
            return self.app(dict(environ), start_response)

    served(StatsdMiddleware(Copying(), statsd=statsd), "/api/products/sku/AB-1234-0")

    assert [each["url_rule"] for each in statsd.tags] == ["/api/products/sku/_sku:sku_"]


# --- time -----------------------------------------------------------------------------------------------


class Hand(threading.local):
    """A clock that tests wind by hand."""

    ns = 0

    def __call__(self) -> int:
        return self.ns

    def pass_ms(self, ms: int) -> None:
        self.ns += ms * 1_000_000


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Hand:
    """The wall clock."""
    clock = Hand()
    monkeypatch.setattr("logstatsd.live.middleware.time.perf_counter_ns", clock)
    return clock


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> Hand:
    """The thread's CPU clock."""
    clock = Hand()
    monkeypatch.setattr("logstatsd.live.middleware.time.thread_time_ns", clock)
    return clock


def streaming(wall: Hand, cpu: Hand, error: Exception | None = None, at: int = 9) -> Flask:
    """An app whose view takes 5 ms, 1 of them CPU, and whose three chunks take 10 ms each, 2 of them CPU."""
    app = Flask("streaming")

    @app.get("/")
    def stream() -> Response:
        def chunks() -> Iterator[bytes]:
            for number in range(3):
                wall.pass_ms(10)
                cpu.pass_ms(2)
                if number == at and error:
                    raise error
                yield b"chunk"

        wall.pass_ms(5)
        cpu.pass_ms(1)
        return Response(chunks())

    return app


def test_a_stream_is_timed_until_its_end_and_its_cpu_time_can_be_logged_then(
    statsd: Recorder, wall: Hand, cpu: Hand
) -> None:
    app = StatsdMiddleware(streaming(wall, cpu), statsd=statsd)

    body, _, environ = served(app)

    assert body == b"chunk" * 3
    assert [each.value for each in statsd.sent] == [35.0, 7.0]
    assert environ[CPU_KEY] == "7000"


def test_a_client_that_goes_away_ends_its_request_which_has_no_cpu_time(
    statsd: Recorder, wall: Hand, cpu: Hand
) -> None:
    app = StatsdMiddleware(streaming(wall, cpu), statsd=statsd)

    body = iter(app(EnvironBuilder().get_environ(), lambda *_: lambda _: None))
    next(body)
    body.close()  # type: ignore[attr-defined]

    assert [(each.name, each.value) for each in statsd.sent] == [("streaming.api.request", 15.0)]


def test_a_body_that_the_server_never_asks_for_is_timed_when_it_is_closed(
    statsd: Recorder, wall: Hand, cpu: Hand
) -> None:
    body = StatsdMiddleware(streaming(wall, cpu), statsd=statsd)(
        EnvironBuilder().get_environ(), lambda *_: lambda _: None
    )
    body.close()  # type: ignore[attr-defined]

    assert [each.value for each in statsd.sent] == [5.0]


@pytest.mark.parametrize(("at", "status"), [(0, "500"), (1, "200")])
def test_an_error_within_the_body_is_a_500_only_while_nothing_was_sent(
    statsd: Recorder, wall: Hand, cpu: Hand, at: int, status: str
) -> None:
    error = RuntimeError("torn")

    with pytest.raises(RuntimeError) as raised:
        served(StatsdMiddleware(streaming(wall, cpu, error, at), statsd=statsd))

    assert raised.value is error
    assert [each["http_status_code"] for each in statsd.tags] == [status]


def test_the_header_tells_the_cpu_time_until_the_response_starts(
    statsd: Recorder, wall: Hand, cpu: Hand
) -> None:
    app = streaming(wall, cpu)
    app.wsgi_app = StatsdMiddleware(app, statsd=statsd, cpu_header=True)  # type: ignore[method-assign]

    assert app.test_client().get("/", buffered=True).headers[CPU_HEADER] == "1000"


class ServersFile:
    """A server's `wsgi.file_wrapper`, as gunicorn's."""

    def __init__(self, file: Any, block_size: int = 8192) -> None:
        self.file = file
        self.close = file.close


def test_a_file_is_left_to_the_server_and_timed_when_it_is_closed(statsd: Recorder, tmp_path: Path) -> None:
    app = Flask("files")
    (tmp_path / "big").write_bytes(b"x" * 100_000)
    app.add_url_rule("/big", "big", lambda: send_file(tmp_path / "big"))
    environ = EnvironBuilder(path="/big").get_environ() | {"wsgi.file_wrapper": ServersFile}

    body: Any = StatsdMiddleware(app, statsd=statsd)(environ, lambda *_: lambda _: None)

    assert type(body) is ServersFile
    assert statsd.sent == []
    body.close()
    assert body.file.closed
    assert [each.name for each in statsd.sent] == ["files.api.request"]


def test_the_cpu_time_of_another_thread_is_not_told(statsd: Recorder) -> None:
    app = StatsdMiddleware(shop.create_app(), statsd=statsd)
    body = app(EnvironBuilder(path="/health").get_environ(), lambda *_: lambda _: None)

    with ThreadPoolExecutor(1) as other:
        other.submit(list, body).result()

    assert (len(statsd.walls), statsd.cpus) == (1, [])


# --- never in the way -----------------------------------------------------------------------------------


def test_an_exception_of_the_app_is_a_500_and_raised_untouched(statsd: Recorder) -> None:
    app = shop.create_app()
    app.testing = True
    order = "/api/orders/00000000-0000-4000-8000-000000000000/refund"

    with pytest.raises(RuntimeError, match="payment provider"):
        served(StatsdMiddleware(app, statsd=statsd), order, "POST")

    assert statsd.tags == [tags("POST", 500, "/api/orders/_uuid:order_id_/refund", "api.orders.refund")]
    assert statsd.cpus == []


def test_a_connection_that_was_taken_over_is_no_request(statsd: Recorder) -> None:
    app = Flask("sockets")

    def takes_over() -> str:
        raise StopIteration

    app.testing = True
    app.add_url_rule("/ws", "ws", takes_over)

    with pytest.raises(StopIteration):
        served(StatsdMiddleware(app, statsd=statsd), "/ws")

    assert statsd.sent == []


def test_a_client_that_fails_is_told_of_once_and_no_request_notices() -> None:
    app = StatsdMiddleware(shop.create_app(), statsd=Broken())
    errors = io.StringIO()

    answers = [served(app, "/health", **{"wsgi.errors": errors})[1] for _ in range(3)]

    assert answers == ["200 OK"] * 3
    assert errors.getvalue() == "logstatsd: no metrics: RuntimeError: no such metric\n"


def test_what_is_not_flask_and_what_cannot_be_used_is_refused_at_once() -> None:
    with pytest.raises(AppError, match="not a Flask app"):
        StatsdMiddleware(lambda _environ, _start: [])
    with pytest.raises(AppError, match="not a WSGI app"):
        StatsdMiddleware(SimpleNamespace(url_map=Map()))  # Quart's kind
    with pytest.raises(OptionError, match="sample_rate 0"):
        StatsdMiddleware(shop.app, sample_rate=0)
    with pytest.raises(OptionError, match="another host"):
        StatsdMiddleware(shop.app, tags=["host:web1"])
    with pytest.raises(AppError, match="init_app"):
        served(StatsdMiddleware())


def test_statuses_of_concurrent_requests_do_not_mix(statsd: Recorder) -> None:
    app = Flask("mixed")
    together = threading.Barrier(20)

    def answer(status: int) -> Response:
        together.wait(10)
        return Response((str(status) for _ in range(3)), status=status)

    for status in range(200, 220):
        app.add_url_rule(f"/{status}", str(status), lambda status=status: answer(status))
    measured = StatsdMiddleware(app, statsd=statsd)

    with ThreadPoolExecutor(20) as clients:
        list(clients.map(lambda n: served(measured, f"/{200 + n % 20}"), range(400)))

    assert len(statsd.tags) == 400
    assert all(each["endpoint"] == each["http_status_code"] for each in statsd.tags)


# --- any WSGI app ---------------------------------------------------------------------------------------

CHUNKS = st.lists(st.binary(max_size=9), max_size=5)


@given(
    chunks=CHUNKS, as_list=st.booleans(), status=st.integers(200, 599), fails_at=st.none() | st.integers(0, 6)
)
def test_whatever_the_app_answers_is_passed_on_and_counted_once(
    chunks: list[bytes], as_list: bool, status: int, fails_at: int | None
) -> None:
    app, statsd = Flask("any"), Recorder()

    def made() -> Iterator[bytes]:
        for number, chunk in enumerate(chunks):
            if number == fails_at:
                raise KeyError(number)
            yield chunk

    @app.get("/")
    def view() -> Response:
        body: Iterable[bytes] = chunks if as_list else made()
        return Response(body, status=status, headers={"X-Kept": "yes"})

    def outcome(wsgi: Callable[..., Any]) -> tuple[object, ...]:
        try:
            body, line, headers = run_wsgi_app(wsgi, EnvironBuilder().get_environ(), buffered=True)
        except KeyError as error:
            return ("raised", error.args)
        return (b"".join(body), line, list(headers))

    assert outcome(StatsdMiddleware(app, statsd=statsd)) == outcome(app)
    assert len(statsd.walls) == 1


def test_a_view_sees_the_same_request_as_without(statsd: Recorder) -> None:
    app = Flask("same")

    @app.get("/<path:rest>")
    def view(rest: str) -> str:
        if rest == "gone":
            abort(410)
        return f"{request.full_path} {rest}"

    plain, measured = Client(app), Client(StatsdMiddleware(app, statsd=statsd))
    for target in ("/a/b?c=d", "/gone", "/%2Fx", "//y"):
        answers = [client.get(target, buffered=True) for client in (plain, measured)]
        assert answers[0].data == answers[1].data
        assert answers[0].status == answers[1].status


def test_every_option_is_in_the_manual() -> None:
    manual = (DOCS / "middleware.md").read_text()
    options = inspect.signature(StatsdMiddleware).parameters

    assert [name for name in options if f"| `{name}` |" not in manual] == []
