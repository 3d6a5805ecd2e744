"""Load the app, export its url_maps as a snapshot, and ask it where a Router is undecided."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any, Final

from flask import Flask
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import BuildError, Map, RequestRedirect
from werkzeug.routing.map import MapAdapter
from werkzeug.test import EnvironBuilder

from logstatsd.errors import AppError
from logstatsd.model.route import METHOD_NOT_ALLOWED, REDIRECT, UNMATCHED, Route, Undecided
from logstatsd.routing.app_import import Mounted, explained, isolated, load_spec, mounted_apps
from logstatsd.routing.export import converter_id, map_data, rules, werkzeug_version
from logstatsd.routing.snapshot import KEY, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flask.cli import ScriptInfo
    from werkzeug.routing import Rule

# A host that no app is configured for, to see what an app makes of one.
PROBE: Final = "logstatsd-probe"


def load(specs: Sequence[str]) -> LoadedApp:
    """Load the app that specs name: one as Flask's `--app` takes it, or several as `/prefix=spec`.

    None is FLASK_APP, or the wsgi.py or app.py that Flask would find.
    """
    mounts: list[Mounted] = []
    for spec in specs or [""]:
        prefix, equals, rest = spec.partition("=")
        if not (equals and prefix.startswith("/") and ":" not in prefix and "(" not in prefix):
            prefix, rest = "", spec
        loaded = load_spec(rest)
        apps = mounted_apps(loaded, prefix.rstrip("/"))
        if not apps:
            raise AppError(
                f"{rest}: not a Flask app but {type(loaded).__name__!r}, in which none was found;"
                " name the app itself, as in module:app"
            )
        mounts += apps
    if len({mount.prefix for mount in mounts}) < len(mounts):
        raise AppError("two apps at one prefix: give each its own, as in --app /shop=shop:app")
    return LoadedApp(mounts)


def from_object(app: Any) -> LoadedApp:
    """Make the same of an app that is loaded already."""
    mounts = mounted_apps(app)
    if not mounts:
        raise AppError(f"not a Flask app: {type(app).__name__!r} has no url_map")
    return LoadedApp(mounts)


def from_flask_cli(info: ScriptInfo) -> LoadedApp:
    """Load the app that the `flask` command was told of, by its own `--app` or as it finds one."""
    spec = info.app_import_path or "the app"
    with isolated(), explained(spec, spec):
        return from_object(info.load_app())


class LoadedApp:
    """An app, or several under their prefixes, ready to be exported and to be asked."""

    def __init__(self, mounts: Sequence[Mounted]) -> None:
        self._mounts = mounts
        main = next((mount for mount in mounts if not mount.prefix and mount.app is not None), None)
        self.app: Any = main.app if main else next(mount.app for mount in mounts if mount.app is not None)
        self.app_name: str = str(getattr(self.app, "name", type(self.app).__name__))
        self._failing: set[str] = set()

    def snapshot(self) -> dict[str, Any]:
        """Export all that a Router needs, as plain data."""
        return {
            KEY: VERSION,
            "app_name": self.app_name,
            "werkzeug": werkzeug_version(),
            "mounts": [_mount_data(mount) for mount in self._mounts],
        }

    def rules(self) -> Iterator[Rule]:
        """Every rule, in the order of `Router.rules`."""
        for mount in self._mounts:
            if mount.app is not None:
                yield from rules(mount.app.url_map)

    def resolve(self, undecided: Undecided) -> tuple[Route, bool]:
        """Ask the app itself about a request, and tell whether its answer is proven.

        A converter that fails for want of a database or the like is not asked again: its rules are kept.
        """
        if not self._failing.isdisjoint(undecided.converters):
            return undecided.fallback, False
        try:
            return self._asked(undecided), True
        except BaseException as error:  # SystemExit too is no more than a failure to answer
            culprit = _culprit(error, self._mounts[undecided.mount].app.url_map)
            if culprit is None or culprit in undecided.converters:
                self._failing.update([culprit] if culprit else undecided.converters)
                return undecided.fallback, False
            return UNMATCHED, True  # Werkzeug's own converter broke, as it does when serving

    def resolve_all(self, questions: Sequence[Undecided]) -> list[tuple[Route, bool]]:
        """Ask the app about several requests."""
        return [self.resolve(question) for question in questions]

    def _asked(self, undecided: Undecided) -> Route:
        app = self._mounts[undecided.mount].app
        url_map: Map = app.url_map
        if url_map.host_matching:
            adapter = MapAdapter(url_map, undecided.domain, "/", None, "http", "/", "GET")
        else:
            adapter = MapAdapter(url_map, "localhost", "/", undecided.domain, "http", "/", "GET")
        try:
            with _app_context(app):
                adapter.match(undecided.path, undecided.method, websocket=undecided.websocket)
        except (HTTPException, BuildError) as error:
            return routing_failure(error)
        # The Router walks as Werkzeug does, so what matched is the rule that it would have kept.
        return undecided.fallback


def rehearse() -> None:
    """Import all that loading an app and asking it take, before an app's own modules can stand in the way."""
    app = Flask("logstatsd", static_folder=None)
    app.add_url_rule("/<int:number>/<uuid:id>", "rehearsal")
    loaded = from_object(app)
    loaded.snapshot()
    loaded.resolve(Undecided(0, "GET", "", "/x", websocket=False, fallback=UNMATCHED, converters=()))


def routing_failure(error: BaseException) -> Route:
    """Label a request that was not routed; Flask keeps the reason as `routing_exception`."""
    if isinstance(error, (RequestRedirect, BuildError)):  # the latter where the app cannot make the URL
        return REDIRECT
    if isinstance(error, MethodNotAllowed) and _by_matching(error):
        return METHOD_NOT_ALLOWED
    return UNMATCHED


@contextlib.contextmanager
def _app_context(app: Any) -> Iterator[None]:
    if isinstance(app, Flask):
        with app.app_context():
            yield
    else:  # Quart's is asynchronous
        yield


def _by_matching(error: BaseException) -> bool:
    """Whether Werkzeug's matching raised this itself, rather than a converter that it called."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code is MapAdapter.match.__code__


def _culprit(error: BaseException, url_map: Map) -> str | None:
    """Find the converter in whose code this was raised, if it was in one's."""
    culprit = None
    trace = error.__traceback__
    while trace is not None:
        kind = type(trace.tb_frame.f_locals.get("self"))
        if hasattr(kind, "to_python"):  # what converters have in common; a base class not always
            culprit = converter_id(kind, url_map)
        trace = trace.tb_next
    return culprit


def _mount_data(mount: Mounted) -> dict[str, Any]:
    if mount.app is None:
        return {"prefix": mount.prefix, "binding": {"to": "fixed"}, "rules": None}
    url_map: Map = mount.app.url_map
    return {"prefix": mount.prefix, "binding": _binding(mount.app), **map_data(url_map)}


def _binding(app: Any) -> dict[str, str]:
    """Find what Flask binds the map to, by asking it: its versions differ where SERVER_NAME is set."""
    url_map: Map = app.url_map
    server_name = str(app.config.get("SERVER_NAME") or "") if hasattr(app, "config") else ""
    domain = _probed(app, PROBE)
    if domain is None:  # not Flask, or an adapter of the app's own
        if url_map.host_matching:
            return {"to": "host"}
        if server_name and getattr(app, "subdomain_matching", False):
            return {"to": "subdomain", "name": server_name.lower()}
        return {"to": "fixed", "name": url_map.default_subdomain or ""}
    if domain == PROBE:
        return {"to": "host"}
    if server_name and _probed(app, f"{PROBE}.{server_name}") == PROBE:
        return {"to": "subdomain", "name": server_name.lower().removesuffix(":80")}
    return {"to": "fixed", "name": domain}


def _probed(app: Any, host: str) -> str | None:
    """Find the domain that the app's map is bound to for a request with this Host."""
    if not isinstance(app, Flask):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            environ = EnvironBuilder(headers=[("Host", host)]).get_environ()
            adapter = app.create_url_adapter(app.request_class(environ))
    except Exception:
        return None
    if adapter is None:
        return None
    return adapter.server_name if adapter.map.host_matching else adapter.subdomain
