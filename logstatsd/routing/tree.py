"""A Router's finished trees as plain data, for the compiled scanner to walk."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

from logstatsd.model.route import METHOD_NOT_ALLOWED, NOT_THE_APP, REDIRECT, UNMATCHED, Route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from logstatsd.routing.matcher import Rule, State, UrlMap
    from logstatsd.routing.router import Router

FIXED: Final = (UNMATCHED, METHOD_NOT_ALLOWED, REDIRECT, NOT_THE_APP)
"""The labels of requests that no rule matched, in the order in which the compiled scanner has them."""

_TEXT: Final = r"(?:[\w~,;:@!%&='\"<> /-]|\\[^\w\n])"
_VALUES: Final = (
    r"\[\^/\]\{\d+(?:,\d*)?\}",  # string
    r"\[\^/\]\+",  # string, of a class of the app's own
    r"\[\^/\]\.\*\?",  # path
    r"(?:-\?)?\\d\+(?:\\\.\\d\+)?",  # int, float
    rf"\(\?:{_TEXT}*(?:\|{_TEXT}*)*\)",  # any
    r"(?:\[A-Fa-f0-9\]\{\d+\}-?)+",  # uuid
)
_KNOWN: Final = re.compile(
    rf"(?:{_TEXT}|\((?:\?P<__werkzeug_\d+>)?(?:{'|'.join(_VALUES)})\))*(?:\(\?<!/\)\(/\?\))?(?:\\Z)+",
    re.ASCII,
)

_COUNTS: Final = re.compile(r"\\d|\{(?!1,\})")
"""Parts of a pattern that depend on characters being bytes: digits, of any script, and numbers of characters."""


def is_known(pattern: str) -> bool:
    """Whether a part's pattern is made of Werkzeug's own converters, which every engine reads alike."""
    return pattern.isascii() and _KNOWN.fullmatch(pattern) is not None


def routes_of(router: Router) -> list[Route]:
    """Everything that a tree can answer; the numbers in `tree` are places in this list."""
    return [*dict.fromkeys((*FIXED, *router.routes))]


def tree(router: Router) -> dict[str, Any]:
    """The trees of all mounts, with what a request's path goes through before it is walked.

    Raises ValueError for a Router whose answers depend on more than that.
    """
    if router._normalised and router._at:
        raise ValueError("a prefix of normalised targets")
    numbers = {route: number for number, route in enumerate(routes_of(router))}
    mounts = [mount for _, mount in router._prefixed]
    mounts += [mount for prefix, mount in router._mounts.items() if not prefix]
    return {
        "prefix": router._at,
        "prefix_at_itself": router._at_itself,
        "methods": sorted(router.methods),
        "fixed": tuple(numbers[route] for route in FIXED),
        "uses_websocket": router.uses_websocket,
        "mounts": [
            {
                "prefix": mount.prefix,
                "domain": mount.name if mount.bound_to == "fixed" else None,
                "map": None if mount.map is None else _map(mount.map, numbers),
            }
            for mount in mounts
        ],
    }


def _map(url_map: UrlMap, routes: dict[Route, int]) -> dict[str, Any]:
    states = list(_states(url_map._root))
    numbers = {id(state): number for number, state in enumerate(states)}
    rules = [rule for state in states for rule in state.rules]
    places = {id(rule): number for number, rule in enumerate(rules)}
    patterns: dict[str, int] = {}
    plain = []
    for state in states:
        by_pattern = [
            (
                patterns.setdefault(match.__self__.pattern, len(patterns)),  # type: ignore[attr-defined]
                takes_rest,
                slash,
                numbers[id(child)],
            )
            for match, takes_rest, slash, _, child in state.dynamic
        ]
        by_text = [(text, numbers[id(child)]) for text, child in state.static.items()]
        plain.append((by_text, by_pattern, [places[id(rule)] for rule in state.rules]))
    return {
        "states": plain,
        "rules": [
            (
                None if rule.methods is None else sorted(rule.methods),
                rule.strict,
                rule.merge,
                rule.websocket,
                min(_certain_upto(rule), 1 << 62),
                None if rule.redirects else routes[rule.route],
            )
            for rule in rules
        ],
        "patterns": [
            (pattern if is_known(pattern) else None, _COUNTS.search(pattern) is not None)
            for pattern in patterns
        ],
        "merges": url_map._merge,
        "merges_all": url_map._merges_all,
        "refuses_merged": url_map._refuses_merged,
    }


def _certain_upto(rule: Rule) -> int:
    """The length of path up to which a hit needs no look at its values, also of a rule that redirects."""
    if rule.redirects and not rule.twins:
        return min((value.safe for value in rule.values), default=sys.maxsize)
    return rule.plain_upto


def _states(root: State) -> Iterator[State]:
    yield root
    for child in [*root.static.values(), *(transition[-1] for transition in root.dynamic)]:
        yield from _states(child)
