"""The app's side of routing: its url_maps as a snapshot, and its own answer where a Router is undecided."""

from __future__ import annotations

import contextlib
import functools
import re
import sys
import uuid
import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from flask import Flask
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import (
    BaseConverter,
    FloatConverter,
    IntegerConverter,
    Map,
    RequestRedirect,
    Rule,
    UUIDConverter,
)
from werkzeug.routing.converters import NumberConverter
from werkzeug.routing.map import MapAdapter
from werkzeug.sansio.utils import get_host
from werkzeug.test import EnvironBuilder

from logstatsd.errors import AppError
from logstatsd.labels import METHOD_NOT_ALLOWED, REDIRECT, UNMATCHED, Route, Undecided
from logstatsd.loading import Mounted, explained, isolated, load_spec, mounted_apps
from logstatsd.snapshot import KEY, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flask.cli import ScriptInfo

# A host that no app is configured for, to see what an app makes of one.
PROBE: Final = "logstatsd-probe"
REMEMBERED: Final = 32_768


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
    """The same for an app that is loaded already."""
    mounts = mounted_apps(app)
    if not mounts:
        raise AppError(f"not a Flask app: {type(app).__name__!r} has no url_map")
    return LoadedApp(mounts)


def from_flask_cli(info: ScriptInfo) -> LoadedApp:
    """The app that the `flask` command was told of, by its own `--app` or as it finds one."""
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
        self._answers: dict[Undecided, tuple[Route, bool]] = {}
        self._failing: set[str] = set()

    def snapshot(self) -> dict[str, Any]:
        """All that a Router needs, as plain data."""
        return {
            KEY: VERSION,
            "app_name": self.app_name,
            "werkzeug": version("werkzeug"),
            "mounts": [_mount_data(mount) for mount in self._mounts],
        }

    def resolve(self, undecided: Undecided) -> tuple[Route, bool]:
        """What the app itself makes of a request, and whether that is proven.

        A converter that fails for want of a database or the like is not asked again: its rules are kept.
        """
        known = self._answers.get(undecided)
        if known is not None:
            return known
        if not self._failing.isdisjoint(undecided.converters):
            return undecided.fallback, False
        try:
            answer = self._asked(undecided), True
        except Exception as error:
            culprit = _culprit(error)
            if culprit is None or culprit in undecided.converters:
                self._failing.update([culprit] if culprit else undecided.converters)
                return undecided.fallback, False
            answer = UNMATCHED, True  # Werkzeug's own converter broke, as it does when serving
        if len(self._answers) >= REMEMBERED:
            self._answers.clear()
        self._answers[undecided] = answer
        return answer

    def _asked(self, undecided: Undecided) -> Route:
        app = self._mounts[undecided.mount].app
        url_map: Map = app.url_map
        if url_map.host_matching:
            adapter = MapAdapter(url_map, undecided.domain, "/", None, "http", "/", "GET")
        else:
            adapter = MapAdapter(url_map, "localhost", "/", undecided.domain, "http", "/", "GET")
        try:
            with contextlib.redirect_stdout(sys.stderr), _app_context(app):
                adapter.match(undecided.path, undecided.method, websocket=undecided.websocket)
        except RequestRedirect:
            return REDIRECT
        except MethodNotAllowed as error:
            return METHOD_NOT_ALLOWED if _by_matching(error) else UNMATCHED
        except HTTPException:
            return UNMATCHED
        # The Router walks as Werkzeug does, so what matched is the rule that it would have kept.
        return undecided.fallback


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


def _culprit(error: BaseException) -> str | None:
    """The converter in whose code this was raised, if it was in one's."""
    culprit = None
    trace = error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        if isinstance(owner, BaseConverter):
            culprit = _class_name(owner)
        trace = trace.tb_next
    return culprit


def _mount_data(mount: Mounted) -> dict[str, Any]:
    if mount.app is None:
        return {"prefix": mount.prefix, "binding": {"to": "fixed"}, "rules": None}
    url_map: Map = mount.app.url_map
    url_map.update()
    with _understood():
        return {
            "prefix": mount.prefix,
            "binding": _binding(mount.app),
            "merge_slashes": url_map.merge_slashes,
            "werkzeug": _habits(),
            "rules": list(_rules(url_map._matcher._root, [])),
        }


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except AttributeError as error:
        raise AppError(
            f"werkzeug {version('werkzeug')} keeps its rules in a way that is not understood ({error});"
            " use werkzeug 2.2.3 to 3.1, or a newer logstatsd"
        ) from error


def _binding(app: Any) -> dict[str, str]:
    """What Flask binds the map to, seen by asking it: its versions differ where SERVER_NAME is set."""
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
    """The domain that the app's map is bound to for a request with this Host."""
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


@functools.lru_cache(maxsize=1)
def _habits() -> dict[str, Any]:
    """How the installed Werkzeug does what its versions do differently, seen by trying it."""
    merging = Map([Rule("/a/b", endpoint="")])
    unmerged = Map([Rule("/a/b", endpoint="", merge_slashes=False)])
    number = Map([Rule("/<int:n>", endpoint="")])
    return {
        "merges_all_slashes": _outcome(merging, "/a///b") is RequestRedirect,
        "merged_rule_must_merge": _outcome(unmerged, "/a//b") is not RequestRedirect,
        "refuses_numbers": _outcome(number, "/" + 5000 * "9") is not ValueError,
        "invalid_host": _invalid_host(),
    }


def _invalid_host() -> str:
    try:
        return "kept" if get_host("http", "a_b") else "empty"
    except HTTPException:
        return "refused"


def _outcome(url_map: Map, path: str) -> type[Exception] | None:
    try:
        url_map.bind("localhost").match(path)
    except Exception as error:
        return type(error)
    return None


@functools.lru_cache(maxsize=1)
def _groups_by_number() -> bool:
    """Whether the variables of one part are taken in order of number; once it was by name: 0, 1, 10, 2."""
    names = [f"v{n}" for n in range(11)]
    url_map = Map([Rule("/" + "-".join(f"<{name}>" for name in names), endpoint="")])
    _, values = url_map.bind("localhost").match("/" + "-".join(names))
    return bool(values["v2"] == "v2")


def _rules(state: Any, parts: list[Any]) -> Iterator[dict[str, Any]]:
    """The rules of the state tree, in an order from which the same tree grows again."""
    for rule in state.rules:
        yield _rule_data(rule, parts)
    for content, after in state.static.items():
        yield from _rules(after, [*parts, content])
    for part, after in state.dynamic:
        yield from _rules(after, [*parts, _part_data(part)])


def _part_data(part: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"pattern": part.content, "weight": str(tuple(part.weight))}
    groups = _groups(part)
    if groups != [1]:
        data["groups"] = groups
    for flag in ("final", "suffixed"):
        if getattr(part, flag):
            data[flag] = True
    return data


def _groups(part: Any) -> list[int]:
    """Which groups of a part's pattern hold its variables."""
    pattern = re.compile(part.content)
    named = {k[11:]: at for k, at in pattern.groupindex.items() if k.startswith("__werkzeug_")}
    if not named:  # before Werkzeug 2.3: all of them
        return list(range(1, pattern.groups + (not part.suffixed)))
    return [named[k] for k in sorted(named, key=int if _groups_by_number() else str)]


def _rule_data(rule: Rule, parts: list[Any]) -> dict[str, Any]:
    url_map = rule.map
    domain = rule.host if url_map.host_matching else rule.subdomain
    data: dict[str, Any] = {
        "rule": rule.rule,
        "endpoint": str(rule.endpoint),
        "methods": None if rule.methods is None else sorted(rule.methods),
        "parts": parts,
    }
    optional = {
        "domain": domain or "",
        "converters": _converters_data(rule, parts),
        "websocket": rule.websocket,
        "redirects": bool(rule.redirect_to is not None or (rule.alias and url_map.redirect_defaults)),
        "default_redirects": _default_redirects(rule) if url_map.redirect_defaults else [],
    }
    data.update({key: value for key, value in optional.items() if value})
    for flag in ("strict_slashes", "merge_slashes"):
        if not getattr(rule, flag):
            data[flag] = False
    return data


def _converters_data(rule: Rule, parts: list[Any]) -> list[dict[str, Any]]:
    converters = [_converter_data(*item) for item in rule._converters.items()]
    groups = sum(len(part.get("groups", [1])) for part in parts if isinstance(part, dict))
    if groups != len(converters):  # Werkzeug 2.2 takes groups inside a variable for variables
        for each in converters:
            if each["value"] not in {"text", "custom"}:
                each["may_not_parse"] = True
    return converters


def _converter_data(name: str, converter: BaseConverter) -> dict[str, Any]:
    kind = type(converter)
    registered = [key for key, value in converter.map.converters.items() if value is kind]
    data: dict[str, Any] = {
        "name": name,
        "converter": min(registered, key=lambda key: key == "default", default=kind.__name__),
    }
    asked = getattr(converter.to_python, "__func__", None)
    if asked is BaseConverter.to_python:
        return data | {"value": "text"}
    if asked is UUIDConverter.to_python and converter.regex == UUIDConverter.regex:
        return data | {"value": "uuid"}
    number = _number_data(converter) if asked is NumberConverter.to_python else None
    return data | (number or {"value": "custom", "class": _class_name(converter)})


def _number_data(converter: Any) -> dict[str, Any] | None:
    """A number's bounds; None if they are not of the kind that can be told without the app."""
    plain = {int: IntegerConverter.regex, float: FloatConverter.regex}
    regex = plain.get(converter.num_convert)
    bounds = {key: getattr(converter, key) for key in ("min", "max")}
    bounds = {key: value for key, value in bounds.items() if value is not None}
    if regex is None or not all(isinstance(value, (int, float)) for value in bounds.values()):
        return None
    data: dict[str, Any] = {"value": converter.num_convert.__name__, **bounds}
    if converter.fixed_digits:
        data["fixed_digits"] = converter.fixed_digits
    if converter.regex not in {regex, f"-?{regex}"}:
        data["may_not_parse"] = True
    return data


def _class_name(converter: BaseConverter) -> str:
    return f"{type(converter).__module__}.{type(converter).__qualname__}"


def _default_redirects(rule: Rule) -> list[dict[str, Any]]:
    """When Werkzeug redirects to another rule of the endpoint, whose defaults say the same."""
    redirects = []
    for other in rule.map.iter_rules(rule.endpoint):
        if other is rule:
            break
        if not other.provides_defaults_for(rule):
            continue
        when = _when(rule, other.defaults or {})
        if when is not None:
            methods = None if other.methods is None else sorted(other.methods)
            redirects.append({"methods": methods, "when": when})
    return redirects


def _when(rule: Rule, defaults: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values of a rule's variables that equal such defaults; None if they never can."""
    own = rule.defaults or {}
    when: dict[str, Any] = {}
    for name, value in defaults.items():
        if name in own:
            if value != own[name]:
                return None
        elif name in rule._converters:
            kind = _converter_data(name, rule._converters[name])["value"]
            if kind == "uuid" and isinstance(value, uuid.UUID):
                when[name] = str(value)
            elif kind == "text" and isinstance(value, str):
                when[name] = str.__str__(value)
            elif kind in {"int", "float"} and isinstance(value, (int, float)):
                when[name] = value.real
            else:
                return None
    return when
