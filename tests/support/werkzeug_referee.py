"""A pytest plugin for Werkzeug's own tests: every MapAdapter.match is asked of a Router too.

What was compared, and each difference, is written to the file that ROUTING_REFEREE names.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import MapAdapter, RequestRedirect

from logstatsd.model.route import METHOD_NOT_ALLOWED, REDIRECT, UNMATCHED, Route, Undecided
from logstatsd.routing import app as apps
from logstatsd.routing.router import Router

COMPARED: list[str] = []
DIFFERENCES: list[str] = []
original = MapAdapter.match


class Holder:
    """A map, as an app has it."""

    def __init__(self, url_map: Any) -> None:
        self.url_map = url_map


def outcome_of(error: HTTPException | None, rule: Any) -> Route:
    if error is None:
        host = (rule.host or "") if rule.map.host_matching else ""
        return Route(host + rule.rule, str(rule.endpoint), "matched")
    if isinstance(error, RequestRedirect):
        return REDIRECT
    return METHOD_NOT_ALLOWED if isinstance(error, MethodNotAllowed) else UNMATCHED


def router_says(adapter: MapAdapter, path: str, method: str, websocket: bool) -> Route:
    app = apps.from_object(Holder(adapter.map))
    snapshot = app.snapshot()
    binding = snapshot["mounts"][0]["binding"]
    if binding["to"] == "fixed":
        binding["name"] = adapter.server_name if adapter.subdomain is None else adapter.subdomain
    router = Router(json.loads(json.dumps(snapshot)))
    answer = router.match(method, quote(path).encode(), adapter.server_name, websocket)
    return app.resolve(answer)[0] if isinstance(answer, Undecided) else answer


def match(
    self: MapAdapter,
    path_info: str | None = None,
    method: str | None = None,
    return_rule: bool = False,
    query_args: Any = None,
    websocket: bool | None = None,
) -> Any:
    asked = (
        self.path_info if path_info is None else path_info,
        (method or self.default_method).upper(),
        self.websocket if websocket is None else websocket,
    )
    try:
        rule, values = original(self, path_info, method, True, query_args, websocket)
    except HTTPException as error:
        note(self, asked, outcome_of(error, None))
        raise
    note(self, asked, outcome_of(None, rule))
    return (rule if return_rule else rule.endpoint), values


def note(adapter: MapAdapter, asked: tuple[str, str, bool], expected: Route) -> None:
    MapAdapter.match = original  # type: ignore[method-assign]
    try:
        said = router_says(adapter, *asked)
    finally:
        MapAdapter.match = match  # type: ignore[method-assign]
    COMPARED.append(repr(asked))
    if said != expected:
        DIFFERENCES.append(f"{asked} on {adapter.map!r}: werkzeug {expected}, router {said}")


def pytest_sessionstart() -> None:
    MapAdapter.match = match  # type: ignore[method-assign]


def pytest_sessionfinish() -> None:
    MapAdapter.match = original  # type: ignore[method-assign]
    report = {"compared": len(COMPARED), "differences": DIFFERENCES}
    Path(os.environ["ROUTING_REFEREE"]).write_text(json.dumps(report))
