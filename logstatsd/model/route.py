"""Route, the label of a request; the fixed labels; and Undecided, where only the app can tell."""

from __future__ import annotations

from typing import NamedTuple


class Route(NamedTuple):
    """The label of a request.

    `rule` is shown as it is: the rule's string, with its host or mount prefix where there is one, or the
    fixed label of a request that no rule matched. `endpoint` is None unless `outcome` is "matched".
    """

    rule: str
    endpoint: str | None
    outcome: str


UNMATCHED = Route("(unmatched)", None, "unmatched")
METHOD_NOT_ALLOWED = Route("(method not allowed)", None, "method_not_allowed")
REDIRECT = Route("(redirect)", None, "redirect")
NOT_THE_APP = Route("(not the app)", None, "not_the_app")
FIXED = (UNMATCHED, METHOD_NOT_ALLOWED, REDIRECT, NOT_THE_APP)
"""The labels of requests that no rule matched."""


class Undecided(NamedTuple):
    """A request whose label depends on the app's own Python: all that is needed to ask it.

    `domain` is what the map is bound to (the host, or the subdomain), `path` is decoded. `fallback` is the
    label to keep if the app cannot be asked, `converters` are the classes whose `to_python` would run.
    """

    mount: int
    method: str
    domain: str
    path: str
    websocket: bool
    fallback: Route
    converters: tuple[str, ...]


class Converter(NamedTuple):
    """One variable of a rule: `custom` marks a class of the app's own that validates in `to_python`."""

    variable: str
    name: str
    custom: bool


class RuleInfo(NamedTuple):
    """One rule as `logstatsd routes` lists it; `redirects` marks one that never labels a request itself."""

    route: Route
    rule: str
    methods: tuple[str, ...] | None
    converters: tuple[Converter, ...]
    redirects: bool
    websocket: bool

    @property
    def endpoint(self) -> str:
        return self.route.endpoint or ""

    @property
    def custom(self) -> bool:
        """Whether the app itself is needed to know that a request fits this rule."""
        return any(converter.custom for converter in self.converters)
