"""Time every request in a WSGI middleware, into the series that a replay fills."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from logstatsd.delivery.naming import Naming
from logstatsd.errors import AppError, OptionError
from logstatsd.live.timing import default_client, init_lock, thread_cpu_ns
from logstatsd.model.route import Route, Undecided
from logstatsd.routing.app import LoadedApp, from_object, routing_failure
from logstatsd.routing.app_import import has_url_map
from logstatsd.routing.export import endpoint_name
from logstatsd.routing.router import Router

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import NoReturn

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from logstatsd.live.timing import Client

CPU_KEY: Final = "logstatsd.cpu_us"
"""Where the CPU time stands in the WSGI environment: gunicorn logs it as `%({logstatsd.cpu_us}e)s`."""
CPU_HEADER: Final = "X-Logstatsd-Cpu-Us"
"""The response header of `cpu_header`: nginx logs it as `$upstream_http_x_logstatsd_cpu_us`."""

USUAL: Final = 10_000
"""How many series have the quickest look-up: reason phrases are the app's, and may be endless."""
_FAILED: Final = "500"
# A Decimal of microseconds never shows an exponent; a float of seconds would, and some servers misread it.
_IN_UNIT: Final[dict[str, Callable[[int], float]]] = {
    "ms": lambda duration_us: duration_us / 1000,
    "s": lambda duration_us: cast("float", Decimal(duration_us).scaleb(-6)),
}


class StatsdMiddleware:
    """Send the wall and CPU time of every request to StatsD, named and tagged as `logstatsd replay` does.

        app.wsgi_app = StatsdMiddleware(app)         # or, in a factory: StatsdMiddleware().init_app(app)

    `statsd` is a client with the `datadog` client's methods, by default `timing.default_client()`.
    `app_name`, `prefix`, `tags`, `sample_rate`, `per_endpoint` and `scheme` are as the options of `replay`.
    With `cpu_header`, each response tells in a header the CPU time up to its start, for a server in front to
    log.

    Nothing that fails here reaches a request: the first failure is a line in `wsgi.errors`. Raises AppError
    where `app` holds no Flask app, and OptionError for an option that cannot be used.
    """

    def __init__(
        self,
        app: Any = None,
        *,
        statsd: Client | None = None,
        app_name: str | None = None,
        prefix: str | None = None,
        tags: Iterable[str] = (),
        sample_rate: float = 1.0,
        per_endpoint: bool = False,
        scheme: str = "flask",
        cpu_header: bool = False,
    ) -> None:
        if not 0 < sample_rate <= 1:
            raise OptionError(f"sample_rate {sample_rate:g}: it is above 0 and at most 1")
        self._naming = Naming(app_name or "", scheme, prefix or "", tuple(tags), per_endpoint)
        self._options: dict[str, Any] = {
            "statsd": statsd,
            "app_name": app_name,
            "prefix": prefix,
            "tags": self._naming.tags,
            "sample_rate": sample_rate,
            "per_endpoint": per_endpoint,
            "scheme": scheme,
            "cpu_header": cpu_header,
        }
        if statsd is None:
            import_module("datadog.dogstatsd.base")  # it takes 150 ms, for which no request shall wait
        self._statsd = statsd
        self._sample_rate = sample_rate
        self.cpu_header = cpu_header
        self._meter: _Meter | None = None
        self._failed = self._has_complained = False
        self._app = app
        #: What is wrapped; `logstatsd.apps` looks for Flask apps in it.
        self.wsgi_app: WSGIApplication = _no_app
        if app is not None:
            self._naming = replace(self._naming, app_name=app_name or from_object(app).app_name)
            self.wsgi_app = _wsgi_callable(app)

    def init_app(self, app: Any) -> None:
        """Wrap an app that a factory has made; may be called for any number of apps."""
        app.wsgi_app = type(self)(app, **self._options)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        exchange = TimedRequest(self, environ, start_response)
        try:
            body = self.wsgi_app(environ, exchange.start_response)
        except StopIteration:
            raise  # how an extension tells gunicorn that it has taken the connection over, for a websocket
        except BaseException:
            exchange.fail()
            raise
        return exchange.over(body)

    def record(self, exchange: TimedRequest, wall_us: int, cpu_us: int | None) -> None:
        """Send what one request took; never raises."""
        try:
            meter = self._meter
            if meter is None:
                meter = self._made_meter()
            if meter is not None:
                meter.record(exchange, wall_us, cpu_us)
        except Exception as error:
            self._complain(exchange.environ, error)

    def _made_meter(self) -> _Meter | None:
        """Make the meter at the first request: the app has all its rules then, and the server its workers."""
        with init_lock():
            if self._meter is None and not self._failed:
                self._failed = True  # unless what follows succeeds: not to be tried at every request
                client = default_client() if self._statsd is None else self._statsd
                self._meter = _Meter(from_object(self._app), self._naming, client, self._sample_rate)
                self._failed = False
            return self._meter

    def _complain(self, environ: WSGIEnvironment, error: Exception) -> None:
        """Write the first failure of all to the server's error log."""
        if self._has_complained:
            return
        self._has_complained = True
        with suppress(Exception):
            environ["wsgi.errors"].write(f"logstatsd: no metrics: {type(error).__name__}: {error}\n")


def _no_app(_environ: WSGIEnvironment, _start_response: StartResponse) -> NoReturn:
    raise AppError("StatsdMiddleware has no app: write StatsdMiddleware(app), or .init_app(app)")


def _wsgi_callable(app: Any) -> WSGIApplication:
    """Choose what to call: of a Flask app its present `wsgi_app`, since its own call will come back to us."""
    if not has_url_map(app):
        return cast("WSGIApplication", app)
    if not hasattr(app, "wsgi_app"):
        raise AppError(f"not a WSGI app: {type(app).__name__!r}; an ASGI app cannot be timed as WSGI")
    return cast("WSGIApplication", app.wsgi_app)


class TimedRequest:
    """One request on its way through: the `start_response` that the app calls, and its body, timed."""

    __slots__ = (
        "_body",
        "_chunks",
        "_close",
        "_cpu_ns",
        "_done",
        "_middleware",
        "_sent",
        "_start_response",
        "_started_ns",
        "_thread",
        "environ",
        "method",
        "path",
        "request",
        "status",
    )

    def __init__(
        self, middleware: StatsdMiddleware, environ: WSGIEnvironment, start_response: StartResponse
    ) -> None:
        self._middleware = middleware
        self._start_response = start_response
        self.environ = environ
        # What is inside may change these: DispatcherMiddleware moves a part of the path to SCRIPT_NAME.
        self.method: str = environ.get("REQUEST_METHOD", "")
        self.path: str = environ.get("PATH_INFO", "")
        self.status = _FAILED  # until the app says otherwise
        self.request: Any = None
        self._done = self._sent = False
        self._thread = threading.get_ident()
        self._cpu_ns = thread_cpu_ns()
        self._started_ns = time.perf_counter_ns()

    def start_response(self, status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        """Note the status and what Flask knows of the request, while it still does."""
        self.status = status
        # Flask takes it out again when it has left the request's context.
        self.request = self.environ.get("werkzeug.request")
        if self._middleware.cpu_header:
            cpu_us = self._cpu_us()
            if cpu_us is not None:
                headers = [*headers, (CPU_HEADER, str(cpu_us))]
        return self._start_response(status, headers, *exc_info)

    def over(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Give the server its body: ourselves around it, or itself where the server sends it as a file."""
        self._body = body
        self._close = getattr(body, "close", None)
        if _is_file(body, self.environ.get("wsgi.file_wrapper")):
            with suppress(AttributeError, TypeError):
                body.close = self.close  # type: ignore[attr-defined]
                return body
        return self

    def __iter__(self) -> Iterator[bytes]:
        try:
            self._chunks = iter(self._body)
        except BaseException:
            self.fail()
            raise
        return self

    def __next__(self) -> bytes:
        try:
            chunk = next(self._chunks)
        except StopIteration:
            self._record(self._cpu_us())
            raise
        except BaseException:
            self.fail()
            raise
        self._sent = True
        return chunk

    def close(self) -> None:
        """End the request: the server is done with the body, or the client has gone away before its end."""
        # The server has logged by now, so a CPU time could not be in the log.
        self._record(None)
        if self._close is not None:
            self._close()

    def fail(self) -> None:
        """Record that the app raised: the client gets a 500, unless it has got another status already."""
        if not self._sent:
            self.status = _FAILED
        self._record(None)

    def _record(self, cpu_us: int | None) -> None:
        if self._done:
            return
        wall_us = (time.perf_counter_ns() - self._started_ns) // 1000
        self._done = True
        if cpu_us is not None:
            self.environ[CPU_KEY] = str(cpu_us)
        self._middleware.record(self, wall_us, cpu_us)

    def _cpu_us(self) -> int | None:
        """CPU time so far, where all of it was spent in the thread that began."""
        if self._cpu_ns is None or threading.get_ident() != self._thread:
            return None
        return (time.thread_time_ns() - self._cpu_ns) // 1000


def _is_file(body: Iterable[bytes], wrapper: Any) -> bool:
    """Whether the server recognises the body as a file, which it sends without iterating over it."""
    if isinstance(wrapper, type):
        return isinstance(body, wrapper)
    # uWSGI's wrapper is a function that returns the file.
    return wrapper is not None and hasattr(body, "read")


class _Named(NamedTuple):
    """The metrics of one series, each its name and tags."""

    wall: list[tuple[str, list[str]]]
    cpu: list[tuple[str, list[str]]]


class _Meter:
    """A maker of metrics from requests: labels, names and a client, to be used by many threads at once."""

    def __init__(self, loaded: LoadedApp, naming: Naming, client: Any, sample_rate: float) -> None:
        self._router = Router(loaded.snapshot())
        # The rules themselves are kept, so that no id can come to mean another.
        self._rules = tuple(loaded.rules())
        self._routes = _routes_by_rule(self._rules, self._router)
        self._naming = naming
        self._in_unit = _IN_UNIT[naming.unit]
        self._send = getattr(client, naming.wire_type)
        self._sample_rate = sample_rate
        self._named: dict[tuple[Route, str, str], _Named] = {}
        # The usual case in one look-up: a rule that Flask set, and a method and a status as they came.
        self._usual: dict[tuple[int, str, str], _Named] = {}

    def record(self, exchange: TimedRequest, wall_us: int, cpu_us: int | None) -> None:
        """Send what one request took."""
        rule = getattr(exchange.request, "url_rule", None)
        named = self._usual.get((id(rule), exchange.method, exchange.status))
        if named is None:
            named = self._names(exchange, rule)
        send, in_unit, sample_rate = self._send, self._in_unit, self._sample_rate
        for name, tags in named.wall:
            send(name, in_unit(wall_us), tags, sample_rate)
        if cpu_us is not None:
            for name, tags in named.cpu:
                send(name, in_unit(cpu_us), tags, sample_rate)

    def _names(self, exchange: TimedRequest, rule: Any) -> _Named:
        route = self._route(exchange, rule)
        method, status = self._router.clean_method(exchange.method), exchange.status[:3]
        named = self._named.get((route, method, status))
        if named is None:
            wall, cpu = (self._naming.metrics(route, method, int(status), cpu) for cpu in (False, True))
            named = _Named(
                [(name, list(tags)) for name, tags in wall], [(name, list(tags)) for name, tags in cpu]
            )
            self._named[route, method, status] = named
        if id(rule) in self._routes and method == exchange.method and len(self._usual) < USUAL:
            self._usual[id(rule), method, exchange.status] = named
        return named

    def _route(self, exchange: TimedRequest, rule: Any) -> Route:
        """The rule that Flask set on the request; where it set none, what the router makes of it."""
        route = self._routes.get(id(rule))
        if route is not None:
            return route
        target = exchange.path.encode("latin-1", "replace")
        target = target.replace(b"%", b"%25").replace(b"?", b"%3F").replace(b"#", b"%23")
        host = exchange.environ.get("HTTP_HOST", "")
        answer = self._router.match(exchange.method, target, host, exchange.status.startswith("101"))
        if isinstance(answer, Undecided):
            answer = _settled(answer, exchange.request)
        if rule is not None and answer.outcome != "matched":  # of an app that is hidden from us, or new
            return Route(rule.rule, endpoint_name(rule.endpoint), "matched")
        return answer


def _routes_by_rule(rules: Iterable[object], router: Router) -> dict[int, Route]:
    """The label of each rule, by its id; an app that is mounted twice goes by the path."""
    routes: dict[int, Route] = {}
    twice = set()
    for rule, info in zip(rules, router.rules, strict=True):
        if routes.setdefault(id(rule), info.route) != info.route:
            twice.add(id(rule))
    return {key: route for key, route in routes.items() if key not in twice}


def _settled(undecided: Undecided, request: Any) -> Route:
    """Settle a request by what Flask's own converters said; the rule is kept where nobody knows any more."""
    error = getattr(request, "routing_exception", None)
    return undecided.fallback if error is None else routing_failure(error)
