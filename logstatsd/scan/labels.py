"""Remember the label of every request head, in bounded memory."""

from __future__ import annotations

import re
from collections import defaultdict
from sys import getsizeof
from typing import TYPE_CHECKING

from logstatsd.model.route import NOT_THE_APP, Route, Undecided
from logstatsd.scan.remembered import Remembered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logstatsd.formats.logformat import LogFormat, Row
    from logstatsd.routing.router import Router

MAX_LABELS = 65_536
MAX_HEAD_BYTES = 512
"""What is remembered of request heads: so many, and none that is longer."""

MAX_UNDECIDED_BYTES = 32 << 20
"""About how much the labels of requests that are left undecided may take: each has its own path."""
LABEL_BYTES = 1_000

_NO_PATH = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/]*(?:[?#].*)?$")

FLAGS = frozenset(("upstream", "signature"))
"""Roles that are empty but for the few requests that the app never saw."""

Columns = list[tuple[bytes, ...]]


class Label(dict[bytes, list[bytes]]):
    """A route with the method shown, and what was measured under it: texts by `[bucket ]status`.

    The durations are the dictionary itself, since that is looked up for every line; `measured` has them all,
    by role.
    """

    __slots__ = ("measured", "method", "route")

    def __init__(self, route: Route | Undecided, method: str) -> None:
        self.route, self.method = route, method
        self.measured: dict[str, dict[bytes, list[bytes]]] = {"duration": self, "cpu": defaultdict(list)}

    def __missing__(self, status: bytes) -> list[bytes]:
        texts = self[status] = []
        return texts


class Labels:
    """The Label of every request head, remembered in bounded memory."""

    def __init__(self, log_format: LogFormat, router: Router) -> None:
        wanted = {"request", "method", "target", "path", "upstream", "signature"}
        self.roles: tuple[str, ...] = tuple(sorted(wanted | ({"host"} if router.uses_host else set())))
        self.known: list[Label] = []
        self._format, self._router = log_format, router
        # of `GET http://host`, nginx makes a path of `/`, gunicorn an empty one
        self._keeps_empty_paths = log_format.server == "gunicorn"
        self._by_route: dict[tuple[int, str], Label] = {}
        self._remembered = Remembered(self._label, MAX_LABELS, is_short)
        self._undecided_bytes = 0

    def make_room(self) -> None:
        """Forget everything once too much is known: where many requests are left undecided."""
        if len(self.known) > MAX_LABELS or self._undecided_bytes > MAX_UNDECIDED_BYTES:
            self._undecided_bytes = 0
            for label in self.known:
                label.measured.clear()  # or it would hold itself for good: nobody collects cycles here
            self.known.clear()
            self._by_route.clear()
            self._remembered.clear()

    def of(self, columns: Columns, statuses: Sequence[bytes]) -> list[Label]:
        """The labels for columns of heads, in the order of `roles`."""
        remembered = self._remembered
        if self._router.uses_websocket:
            upgraded = tuple(b"1" if status == b"101" else b"" for status in statuses)
            columns = [*columns, upgraded]
        if set(self.roles) - FLAGS != {"request"}:
            return [remembered[head] for head in zip(*columns, strict=True)]
        requests = self.roles.index("request")
        heads: Sequence[bytes | Row] = columns[requests]
        flags = [column for n, column in enumerate(columns) if n != requests and any(column)]
        if flagged := {n for column in flags for n, flag in enumerate(column) if flag}:
            rows = enumerate(zip(*columns, strict=True))
            heads = [row if n in flagged else row[requests] for n, row in rows]
        return [remembered[head] for head in heads]

    def label(self, head: bytes | Row) -> tuple[Route | Undecided, str]:
        """The route and the method shown of one head."""
        host, upgraded, refused = "", False, False
        if isinstance(head, bytes):  # nothing but the request
            method, _, target = head.partition(b" ")
        else:
            given = dict(zip((*self.roles, "websocket"), head, strict=False))
            method, target = self._asked(given)
            refused = bool(given.get("upstream") or given.get("signature"))
            host = self._format.unescape(given.get("host", b"")).decode("latin-1")
            upgraded = bool(given.get("websocket"))
        if not target or not method or target == b"-":
            return NOT_THE_APP, "-"
        if b"\\" in target or not target.isascii():
            target = self._format.unescape(target)
        verb = method.decode("latin-1")
        shown = self._router.clean_method(verb)
        if refused:
            return NOT_THE_APP, shown
        if self._keeps_empty_paths and b"://" in target and _NO_PATH.match(target):
            target = b""
        return self._router.walk(verb, target, host, upgraded), shown

    def _asked(self, given: dict[str, bytes]) -> tuple[bytes, bytes]:
        """Method and target, whichever columns hold them."""
        if "request" in given:
            method, _, target = given["request"].partition(b" ")
            return method, target
        target = given.get("target", b"")
        if not target and "path" in given:  # decoded already: what would be decoded again is encoded
            path = self._format.unescape(given["path"])
            target = path.replace(b"%", b"%25").replace(b"?", b"%3F").replace(b"#", b"%23")
        return given.get("method", b""), target

    def _label(self, head: bytes | Row) -> Label:
        route, method = self.label(head)
        identity = (id(route), method)  # `known` keeps the route alive
        label = self._by_route.get(identity)
        if label is None:
            label = self._by_route[identity] = Label(route, method)
            self.known.append(label)
            if isinstance(route, Undecided):
                self._undecided_bytes += LABEL_BYTES + getsizeof(route.path)
        return label


def is_short(head: bytes | Row) -> bool:
    return (len(head) if isinstance(head, bytes) else sum(map(len, head))) <= MAX_HEAD_BYTES
