"""Router: (method, raw target bytes, host) to a Route, or Undecided; built from a snapshot only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from logstatsd.errors import AppError
from logstatsd.model.route import (
    METHOD_NOT_ALLOWED,
    NOT_THE_APP,
    REDIRECT,
    UNMATCHED,
    Converter,
    Route,
    RuleInfo,
    Undecided,
)
from logstatsd.routing.matcher import Rule, UrlMap
from logstatsd.routing.snapshot import AGAIN, check_version, dump_snapshot, read_snapshot, text_of
from logstatsd.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "METHOD_NOT_ALLOWED",
    "NOT_THE_APP",
    "OTHER_METHOD",
    "REDIRECT",
    "UNMATCHED",
    "Converter",
    "Route",
    "Router",
    "RuleInfo",
    "Undecided",
    "dump_snapshot",
    "read_snapshot",
]

OTHER_METHOD: Final = "_OTHER"
HTTP_METHODS: Final = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
)

# What is remembered is bounded in number and, by leaving long ones out, in bytes: at most some 15 MB.
MAX_ANSWERS: Final = 32_768
MAX_REQUEST_CHARS: Final = 256
MAX_HOSTS: Final = 1_024

_HEX: Final = "0123456789ABCDEFabcdef"
_BYTES: Final = {f"{high}{low}".encode(): bytes.fromhex(high + low) for high in _HEX for low in _HEX}
_MANY_SLASHES: Final = re.compile(rb"/{2,}")
_HOST: Final = re.compile(r"(?:[a-z0-9.-]+|\[[a-f0-9]*:[a-f0-9.:]+\])(?::([1-9][0-9]{,4}))?", re.ASCII)
_SCHEME: Final = re.compile(rb"^[A-Za-z][A-Za-z0-9+.-]*:(?!//)")
_AUTHORITY: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/]*")


def _unquoted(path: bytes) -> bytes:
    """Decode as `urllib.parse.unquote_to_bytes` does, whose import costs more than all of this."""
    first, *escapes = path.split(b"%")
    decoded = [first]
    for escape in escapes:
        byte = _BYTES.get(escape[:2])
        decoded += (b"%", escape) if byte is None else (byte, escape[2:])
    return b"".join(decoded)


class _Mount:
    """A url_map under its prefix, and what of the host it is bound to; no map where no Flask app is."""

    def __init__(self, data: Mapping[str, Any], index: int) -> None:
        self.prefix = text_of(data, "prefix")
        binding = data["binding"]
        self.bound_to = text_of(binding, "to")
        if self.bound_to not in {"fixed", "host", "subdomain"}:
            raise ValueError(f"unknown binding {self.bound_to!r}")
        self.name = text_of(binding, "name", "")
        self._invalid = str(data["werkzeug"]["invalid_host"]) if self.bound_to != "fixed" else "kept"
        self._domains: dict[str, str | None] = {}
        own = [self.name] if self.bound_to == "subdomain" else []
        domains = [domain for rule in data["rules"] or () if (domain := self.shown_domain(rule))]
        self.hosts = [host for host in [*own, *domains] if "<" not in host]
        self.has_domains = bool(domains)
        self.map: UrlMap | None = None
        if data["rules"] is not None:
            self.map = UrlMap(data, index)

    def shown(self, rule: Mapping[str, Any]) -> str:
        """Write the rule as a label: host or mount prefix before it, where there is one."""
        return f"{self.shown_domain(rule)}{self.prefix}{text_of(rule, 'rule')}"

    def shown_domain(self, rule: Mapping[str, Any]) -> str:
        """Write the host that a rule is for, "" where it is for the same as all."""
        domain = text_of(rule, "domain", "")
        if self.bound_to == "fixed" or not domain:
            return ""
        return f"{domain}.{self.name}" if self.bound_to == "subdomain" else domain

    def domain(self, host: str) -> str | None:
        """Find what Flask binds the map to for this Host; None for one that it answers 400."""
        if self.bound_to == "fixed":
            return self.name
        if host not in self._domains:
            if len(self._domains) >= MAX_HOSTS:
                self._domains.clear()
            self._domains[host] = self._bound(host)
        return self._domains[host]

    def _bound(self, host: str) -> str | None:
        if self.bound_to == "subdomain" and not host:  # not in the log: taken for the site itself
            return ""
        host = host.lower().removesuffix(":80").removesuffix(":443")
        if self._invalid != "kept" and not _is_host(host):
            if self._invalid == "refused":
                return None
            host = ""
        return self._subdomain(host) if self.bound_to == "subdomain" else _in_ascii(host)

    def _subdomain(self, host: str) -> str | None:
        labels, own = host.split("."), self.name.split(".")
        if labels[-len(own) :] != own:
            return "<invalid>"
        return ".".join(filter(None, labels[: -len(own)]))


def _in_ascii(host: str) -> str | None:
    name, colon, port = host.partition(":")
    try:
        return name.encode("idna").decode("ascii") + colon + port
    except UnicodeError:
        return None


def _is_host(host: str) -> bool:
    """Whether a Host is one by its characters, as Werkzeug sees it since 3.1.7."""
    valid = _HOST.fullmatch(host)
    return valid is not None and (valid[1] is None or int(valid[1]) <= 65535)


class _Memory(dict[tuple[str, bytes, str, bool], Route | Undecided]):
    """Answers given so far. It is emptied when full, so that a flood costs no more than its walks."""

    def __init__(self, router: Router) -> None:
        super().__init__()
        self._router = router

    def __missing__(self, key: tuple[str, bytes, str, bool]) -> Route | Undecided:
        answer = self._router.walk(*key)
        if len(key[1]) + len(key[0]) + len(key[2]) <= MAX_REQUEST_CHARS:
            if len(self) >= MAX_ANSWERS:
                self.clear()
            self[key] = answer
        return answer


class Router:
    """Label requests with what Flask matched, from a snapshot of the app's url_map(s) alone.

    `strip_prefix` is what a server in front takes off the target: the raw one, or, if `normalised_prefix`,
    of the decoded and resolved one (nginx's `proxy_pass http://up/;`, with a URI). A target outside it never
    reached the app.
    """

    def __init__(
        self, snapshot: dict[str, Any], *, strip_prefix: str = "", normalised_prefix: bool = False
    ) -> None:
        self._made_of = (snapshot, strip_prefix, normalised_prefix)
        check_version(snapshot)
        self._normalised = normalised_prefix
        self._at = strip_prefix.rstrip("/").encode()
        # nginx itself redirects what lacks the final slash of `location /prefix/`.
        self._at_itself = not strip_prefix.endswith("/")
        self._mounts: dict[str, _Mount] = {}
        infos = self._mount_all(snapshot)
        self._prefixed = sorted(
            (item for item in self._mounts.items() if item[0]), key=lambda item: -len(item[0])
        )
        only = self._mounts.get("") if len(self._mounts) == 1 else None
        # The usual case, where neither mount nor host makes a difference.
        self._only = only.map if only is not None and only.bound_to == "fixed" else None
        self._domain = only.name if only is not None else ""
        self.rules: tuple[RuleInfo, ...] = tuple(infos)
        #: What can label a request, in the map's order.
        self.routes: tuple[Route, ...] = tuple(dict.fromkeys(i.route for i in infos if not i.redirects))
        self.methods = HTTP_METHODS.union(*(info.methods or () for info in infos))
        self.uses_host = any(mount.bound_to != "fixed" for mount in self._mounts.values())
        #: Whether a rule itself is for some hosts; otherwise, at most the app as a whole is.
        self.rules_use_host = self.uses_host and any(mount.has_domains for mount in self._mounts.values())
        self.uses_websocket = any(info.websocket for info in infos)
        self._memory = _Memory(self)

    def _mount_all(self, snapshot: Mapping[str, Any]) -> list[RuleInfo]:
        """Build the maps of a snapshot, and list its rules. Raises AppError, naming what is wrong."""
        infos: list[RuleInfo] = []
        place = "top level"
        try:
            self.app_name = text_of(snapshot, "app_name")
            for index, data in enumerate(snapshot["mounts"]):
                place = f"mount {index}"
                mount = self._mounts[text_of(data, "prefix")] = _Mount(data, index)
                if mount.map is None:
                    continue
                for number, each in enumerate(data["rules"]):
                    place = f"mount {index}, rule {number} ({one_line(each.get('rule'), 80)})"
                    infos.append(_add(mount, mount.map, each))
                mount.map.finish()
        except Exception as error:  # whatever somebody wrote into it
            reason = f"{type(error).__name__}: {one_line(error, 160)}"
            raise AppError(f"snapshot of routes: {place}: {reason}; {AGAIN}") from None
        return infos

    def __getstate__(self) -> tuple[dict[str, Any], str, bool]:
        return self._made_of

    def __setstate__(self, state: tuple[dict[str, Any], str, bool]) -> None:
        snapshot, strip_prefix, normalised_prefix = state
        Router.__init__(self, snapshot, strip_prefix=strip_prefix, normalised_prefix=normalised_prefix)

    @property
    def strip_prefix(self) -> str:
        """The prefix that a server in front takes off the target."""
        return self._made_of[1]

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that are known by name, which the app or some of its rules are for."""
        return tuple(dict.fromkeys(host for mount in self._mounts.values() for host in mount.hosts))

    @property
    def snapshot(self) -> dict[str, Any]:
        """The snapshot that it was built from."""
        return self._made_of[0]

    def clean_method(self, method: str) -> str:
        """Make the method a label: one of HTTP's or the app's own, `_OTHER` for anything else."""
        return method if method in self.methods else OTHER_METHOD

    def match(self, method: str, target: bytes, host: str = "", websocket: bool = False) -> Route | Undecided:
        """Label a request; answers are remembered."""
        return self._memory[method, target, host, websocket]

    def walk(self, method: str, target: bytes, host: str = "", websocket: bool = False) -> Route | Undecided:
        """Label a request without remembering the answer: for a caller with a memory of its own."""
        if method not in self.methods and method != method.upper():
            return UNMATCHED  # no server passes it on
        path = target.decode("latin-1")
        if "?" in path or "#" in path:
            target = target.partition(b"?")[0].partition(b"#")[0]
            path = target.decode("latin-1")
        if "%" in path or not path.isascii() or path[:1] != "/" or self._at:
            if path[:1] != "/" and method == "CONNECT":
                target = _after_scheme(target)
            decoded = self._decoded(target)
            if decoded is None:
                return NOT_THE_APP
            path = decoded
        if self._only is not None:
            return self._only.decide(self._domain, path, method, websocket)
        return self._at_mount(path, method, host, websocket)

    def _decoded(self, target: bytes) -> str | None:
        """Decode the path that the app saw; None for what is outside the prefix."""
        if target[:1] != b"/":
            target = _after_authority(target)
        if not self._at:
            return _unquoted(target).decode("utf-8", "replace")
        if not self._normalised:
            inside = self._stripped(target)
            return None if inside is None else _unquoted(inside).decode("utf-8", "replace")
        normalised = _normalised(target)
        inside = None if normalised is None else self._stripped(normalised)
        return None if inside is None else (inside or b"/").decode("utf-8", "replace")

    def _at_mount(self, path: str, method: str, host: str, websocket: bool) -> Route | Undecided:
        mount, path = self._mounted(path)
        if mount is None or mount.map is None:
            return NOT_THE_APP
        domain = mount.domain(host)
        if domain is None:
            return UNMATCHED
        return mount.map.decide(domain, path, method, websocket)

    def _mounted(self, path: str) -> tuple[_Mount | None, str]:
        """Find the mount of a path and what remains of it, as werkzeug's DispatcherMiddleware does.

        What it mounts at no prefix gets the path from its first slash on: of `OPTIONS *` nothing.
        """
        for prefix, mount in self._prefixed:
            if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in {"/", ""}:
                return mount, path[len(prefix) :]
        if self._prefixed and path[:1] != "/":
            path = "".join(path.partition("/")[1:])
        return self._mounts.get(""), path

    def _stripped(self, target: bytes) -> bytes | None:
        """Take off the prefix that a server in front took off; None where it is outside."""
        rest = target[len(self._at) :]
        if not target.startswith(self._at) or (rest[:1] not in {b"/", b""} and rest[:3].upper() != b"%2F"):
            return None
        return rest if rest or self._at_itself else None


def _add(mount: _Mount, url_map: UrlMap, data: Mapping[str, Any]) -> RuleInfo:
    """Put one rule of a snapshot into its map."""
    route = Route(mount.shown(data), text_of(data, "endpoint"), "matched")
    rule = Rule(data, route, url_map.number_error)
    url_map.add(rule, data["parts"])
    return RuleInfo(
        route=route,
        rule=text_of(data, "rule"),
        methods=None if rule.methods is None else tuple(sorted(rule.methods)),
        converters=tuple(
            Converter(each["name"], text_of(each, "converter"), each["value"] == "custom")
            for each in data.get("converters", ())
        ),
        redirects=rule.redirects,
        websocket=rule.websocket,
    )


def _after_authority(target: bytes) -> bytes:
    """Find the path of an absolute-form target (nginx takes none as `/`); any other is left as it is."""
    authority = _AUTHORITY.match(target)
    return target if authority is None else target[authority.end() :] or b"/"


def _after_scheme(target: bytes) -> bytes:
    """Take CONNECT's target as servers do: of `host:443` the path `443`, as if `host` were a scheme."""
    return _SCHEME.sub(b"", target, count=1)


def _normalised(target: bytes) -> bytes | None:
    """Normalise a target as nginx does: decoded, slashes merged, dots resolved; None where that fails."""
    parts: list[bytes] = []
    decoded = _unquoted(target)
    segments = _MANY_SLASHES.sub(b"/", decoded).split(b"/")
    if b"\0" in decoded or segments[0]:
        return None
    for segment in segments[1:]:
        if segment == b"..":
            if not parts:
                return None
            parts.pop()
        elif segment != b".":
            parts.append(segment)
    if segments[-1] in {b".", b".."}:
        parts.append(b"")
    return b"/" + b"/".join(parts)
