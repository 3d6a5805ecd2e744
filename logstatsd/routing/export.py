"""Export a url_map as a snapshot's plain data: the only module that reads Werkzeug's state tree."""

from __future__ import annotations

import contextlib
import functools
import math
import re
import uuid
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

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
from logstatsd.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


_ADDRESS: Final = re.compile(r" at 0x[0-9A-Fa-f]+")


@functools.lru_cache(maxsize=1)
def werkzeug_version() -> str:
    """The installed Werkzeug's version; once told, it is so whatever an app does to `sys.path`."""
    return version("werkzeug")


def map_data(url_map: Map) -> dict[str, Any]:
    """Export what a Router needs to know of a map."""
    with _understood():
        url_map.update()
        return {
            "merge_slashes": bool(url_map.merge_slashes),
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
            f"werkzeug {werkzeug_version()} keeps its rules in a way that is not understood ({error});"
            " use werkzeug 2.2.3 to 3.1, or a newer logstatsd"
        ) from error
    except TypeError as error:  # of parts that cannot be sorted: every request is a 500 then
        raise AppError(f"the app's rules cannot be sorted, so it serves none: {one_line(error)}") from error


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
    data: dict[str, Any] = {"pattern": str(part.content), "weight": one_line(tuple(part.weight))}
    try:
        groups = _groups(part)
    except Exception:  # an odd converter's that is no pattern; Werkzeug finds out at the first request
        return data | {"broken": True}
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
    if not all(map(str.isdigit, named)):  # a name that only looks like Werkzeug's
        return []
    return [named[k] for k in sorted(named, key=int if _groups_by_number() else str)]


def _rule_data(rule: Rule, parts: list[Any]) -> dict[str, Any]:
    url_map = rule.map
    data: dict[str, Any] = {
        "rule": str(rule.rule),
        "endpoint": endpoint_name(rule.endpoint),
        "methods": None if rule.methods is None else sorted(rule.methods),
        "parts": parts,
    }
    try:
        converters = _converters_data(rule, parts)
        twins = _default_redirects(rule) if url_map.redirect_defaults else []
    except Exception:  # defaults that cannot be compared, say: the app decides
        converters, twins = [{"name": "", "converter": "", "value": "custom", "class": rule.rule}], []
    optional = {
        "domain": (rule.host if url_map.host_matching else rule.subdomain) or "",
        "converters": converters,
        "websocket": bool(rule.websocket),
        "redirects": bool(rule.redirect_to is not None or (rule.alias and url_map.redirect_defaults)),
        "default_redirects": twins,
    }
    data.update({key: value for key, value in optional.items() if value})
    for flag in ("strict_slashes", "merge_slashes"):
        if not getattr(rule, flag):
            data[flag] = False
    return data


def endpoint_name(endpoint: object) -> str:
    """An endpoint as text that is the same in every run; without Flask, it may be a function."""
    if isinstance(endpoint, str):
        return str.__str__(endpoint)
    name = getattr(endpoint, "__qualname__", None)
    if isinstance(name, str):
        return f"{getattr(endpoint, '__module__', '')}.{name}"
    return _ADDRESS.sub("", one_line(endpoint)) or type(endpoint).__name__


def _converters_data(rule: Rule, parts: list[Any]) -> list[dict[str, Any]]:
    converters = [_converter_data(name, each, rule.map) for name, each in rule._converters.items()]
    groups = [part.get("groups", [1]) for part in parts if isinstance(part, dict)]
    if [] in groups:
        return [_custom(name, each, rule.map) for name, each in rule._converters.items()]
    if sum(map(len, groups)) != len(converters):  # Werkzeug 2.2 takes groups inside a variable for variables
        for each in converters:
            if each["value"] not in {"text", "custom"}:
                each["may_not_parse"] = True
    return converters


def _converter_data(name: str, converter: BaseConverter, url_map: Map) -> dict[str, Any]:
    """Export what a Router must know of a converter; what cannot be read leaves its rules to the app."""
    data = _custom(name, converter, url_map)
    try:
        value = _value_data(converter)
    except (Exception, SystemExit):
        value = None
    return data if value is None else {"name": name, "converter": data["converter"], **value}


def _custom(name: str, converter: BaseConverter, url_map: Map) -> dict[str, Any]:
    kind = type(converter)
    return {
        "name": name,
        "converter": _registered(kind, url_map) or _class_name(kind).rpartition(".")[2],
        "value": "custom",
        "class": converter_id(kind, url_map),
    }


def _registered(kind: type, url_map: Map) -> str:
    """The name that rules use a converter by, as far as the map knows; not all converters know their map."""
    names = [key for key, value in url_map.converters.items() if value is kind]
    return min(names, key=lambda name: name == "default", default="")


def converter_id(kind: type, url_map: Map) -> str:
    """Tell a converter from the others of a map; classes made by a function share their own name."""
    name = _registered(kind, url_map)
    return _class_name(kind) + (f" as {name}" if name else "")


def _class_name(kind: type) -> str:
    try:
        return f"{kind.__module__}.{kind.__qualname__}"
    except Exception:  # a metaclass's
        return "nameless"


def _value_data(converter: BaseConverter) -> dict[str, Any] | None:
    """Export how a converter's text becomes a value; None where only the app can tell."""
    asked = getattr(converter.to_python, "__func__", None)
    if asked is BaseConverter.to_python:
        return {"value": "text"}
    if asked is UUIDConverter.to_python and converter.regex == UUIDConverter.regex:
        return {"value": "uuid"}
    return _number_data(converter) if asked is NumberConverter.to_python else None


def _number_data(converter: Any) -> dict[str, Any] | None:
    """A number's bounds; None if they are not of the kind that can be told without the app."""
    plain = {int: IntegerConverter.regex, float: FloatConverter.regex}
    regex = plain.get(converter.num_convert)
    bounds = {key: getattr(converter, key) for key in ("min", "max")}
    bounds = {key: value for key, value in bounds.items() if value is not None}
    digits = converter.fixed_digits
    if regex is None or not all(map(_is_plain, [*bounds.values(), digits])):
        return None
    data: dict[str, Any] = {"value": converter.num_convert.__name__, **bounds}
    if digits:
        data["fixed_digits"] = digits
    if converter.regex not in {regex, f"-?{regex}"}:
        data["may_not_parse"] = True
    return data


def _is_plain(number: object) -> bool:
    """Whether a number is one that a snapshot can hold as it is."""
    return (type(number) is int and number.bit_length() <= 64) or (
        type(number) is float and math.isfinite(number)
    )


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
            kind = _converter_data(name, rule._converters[name], rule.map)["value"]
            if kind == "uuid" and isinstance(value, uuid.UUID):
                when[name] = str(value)
            elif kind == "text" and isinstance(value, str):
                when[name] = str.__str__(value)
            elif kind in {"int", "float"} and isinstance(value, (int, float)):
                when[name] = value.real
            else:
                return None
    return when
