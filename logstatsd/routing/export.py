"""Export a url_map as a snapshot's plain data: the only module that reads Werkzeug's state tree."""

from __future__ import annotations

import contextlib
import functools
import re
import uuid
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException
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
from werkzeug.sansio.utils import get_host

from logstatsd.errors import AppError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def map_data(url_map: Map) -> dict[str, Any]:
    """Export what a Router needs to know of a map."""
    url_map.update()
    with _understood():
        return {
            "merge_slashes": url_map.merge_slashes,
            "werkzeug": _habits(),
            "rules": [_rule_data(rule, parts) for rule, parts in _walked(url_map._matcher._root, [])],
        }


def rules(url_map: Map) -> Iterator[Rule]:
    """List the rules that `map_data` holds, in its order."""
    url_map.update()
    return (rule for rule, _ in _walked(url_map._matcher._root, []))


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except AttributeError as error:
        raise AppError(
            f"werkzeug {version('werkzeug')} keeps its rules in a way that is not understood ({error});"
            " use werkzeug 2.2.3 to 3.1, or a newer logstatsd"
        ) from error


@functools.lru_cache(maxsize=1)
def _habits() -> dict[str, Any]:
    """Try out how the installed Werkzeug does what its versions do differently."""
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


def _walked(state: Any, parts: list[Any]) -> Iterator[tuple[Rule, list[Any]]]:
    """List the rules of the state tree with their parts, in an order from which the same tree grows again."""
    for rule in state.rules:
        yield rule, parts
    for content, after in state.static.items():
        yield from _walked(after, [*parts, content])
    for part, after in state.dynamic:
        yield from _walked(after, [*parts, _part_data(part)])


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
    """Find which groups of a part's pattern hold its variables."""
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
    return data | (number or {"value": "custom", "class": class_name(converter)})


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


def class_name(converter: BaseConverter) -> str:
    return f"{type(converter).__module__}.{type(converter).__qualname__}"


def _default_redirects(rule: Rule) -> list[dict[str, Any]]:
    """Find when Werkzeug redirects to another rule of the endpoint, whose defaults say the same."""
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
