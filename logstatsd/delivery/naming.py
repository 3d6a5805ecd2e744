"""Turn a labelled request into metric names and tags, safe in every dialect and the middleware."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from logstatsd.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from logstatsd.model.route import Route

MAX_CHARS = 200
"""Datadog cuts names and tags here, so two that differ only beyond it would be one anyway."""

# Datadog turns any other character of a name into "_". One table for all: no dialect's syntax is in the set.
_NAME_UNSAFE = re.compile(r"[^A-Za-z0-9_.]")
_NAME_DOTS = re.compile(r"\.{2,}")
_NAME_START = re.compile(r"^[^A-Za-z]+")
# Exactly what the datadog client replaces, so that it leaves our tags as they are.
_TAG_UNSAFE = re.compile(r"[^\w\-:/.]")
_KEY_UNSAFE = re.compile(r"[^\w\-/.]")

RESERVED_KEYS = frozenset({"host", "device", "source"})
"""Tag keys by which the Datadog Agent moves a metric to another host."""


class Metric(NamedTuple):
    """A metric's name and its tags, each `key:value`: safe in every dialect, at most 200 characters each."""

    name: str
    tags: tuple[str, ...]


class Scheme(NamedTuple):
    """A convention for the names and tags of requests."""

    stem: str | None
    """What a name starts with; None for the app's name."""
    suffix: str
    method: str
    """Tag keys, in wire order."""
    status: str
    endpoint: str | None
    rule: str
    unit: str
    """ "ms" or "s": what a duration is sent in."""
    wire_type: str
    """The key of `dialects.WIRE_TYPES` that is used unless another is asked for."""


SCHEMES = {
    "flask": Scheme(
        None, ".api.request", "http_method", "http_status_code", "endpoint", "url_rule", "ms", "timing"
    ),
    # https://opentelemetry.io/docs/specs/semconv/http/http-metrics/#metric-httpserverrequestduration
    "otel": Scheme(
        "http.server.request",
        ".duration",
        "http.request.method",
        "http.response.status_code",
        None,
        "http.route",
        "s",
        "distribution",
    ),
}


def safe_name(text: str, suffix: str = "") -> str:
    """Make `text` + `suffix` a metric name: letters, digits, `_`, `.`; a letter first; at most 200 long.

    `suffix` is ours, safe already, and stays whole.
    """
    stem = _NAME_DOTS.sub(".", _NAME_UNSAFE.sub("_", text))[: MAX_CHARS - len(suffix)].rstrip(".")
    return _NAME_START.sub("", stem + suffix) or "unnamed"


def safe_tag(key: str, value: str) -> str:
    """Write `key:value` in characters that every dialect and the datadog client leave alone, at most 200."""
    return f"{_KEY_UNSAFE.sub('_', key)}:{_TAG_UNSAFE.sub('_', value)}"[:MAX_CHARS]


def safe_constant_tag(tag: str) -> str:
    """Make a tag of the environment, with or without a value, as safe as `safe_tag` makes one."""
    key, colon, value = tag.partition(":")
    return safe_tag(key, value) if colon else _KEY_UNSAFE.sub("_", key)[:MAX_CHARS]


@dataclass(frozen=True)
class Naming:
    """Names and tags of one app's metrics, by one of `SCHEMES`.

    `prefix` goes before every name. `tags` are the user's own, each `key:value`, and come last. With
    `per_endpoint`, a matched request has a second metric named after its endpoint, with method and status.
    Raises OptionError for a scheme that does not exist and for a tag that cannot be used.
    """

    app_name: str
    scheme: str = "flask"
    prefix: str = ""
    tags: tuple[str, ...] = ()
    per_endpoint: bool = False
    _constant: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise OptionError(f"--scheme {self.scheme}: it is one of {', '.join(SCHEMES)}")
        scheme = SCHEMES[self.scheme]
        ours = {scheme.method, scheme.status, scheme.endpoint, scheme.rule}
        object.__setattr__(self, "_constant", tuple(_user_tag(tag, ours) for tag in self.tags))

    @property
    def unit(self) -> str:
        """The unit that durations are sent in: "ms" or "s"."""
        return SCHEMES[self.scheme].unit

    @property
    def wire_type(self) -> str:
        """The type that the scheme's durations have unless another is asked for."""
        return SCHEMES[self.scheme].wire_type

    def metrics(self, route: Route, method: str, status: int, cpu: bool = False) -> tuple[Metric, ...]:
        """The metrics that one duration of such a request goes to; with `cpu`, those of its CPU time."""
        scheme = SCHEMES[self.scheme]
        matched = route.outcome == "matched"
        first_two = (safe_tag(scheme.method, method), safe_tag(scheme.status, str(status)))
        tags = list(first_two)
        if matched and route.endpoint is not None and scheme.endpoint is not None:
            tags.append(safe_tag(scheme.endpoint, route.endpoint))
        # A rule starts with "/" or a host, so an outcome in its place cannot be mistaken for one.
        tags.append(safe_tag(scheme.rule, route.rule if matched else route.outcome))
        request = Metric(self._name(cpu), (*tags, *self._constant))
        if not (self.per_endpoint and matched and route.endpoint is not None):
            return (request,)
        return (request, Metric(self._name(cpu, route.endpoint), (*first_two, *self._constant)))

    def overflow(self, cpu: bool = False) -> Metric:
        """The one metric that every series beyond the allowed number is folded into."""
        return Metric(self._name(cpu), (safe_tag(SCHEMES[self.scheme].rule, "overflow"), *self._constant))

    def _name(self, cpu: bool, endpoint: str | None = None) -> str:
        stem, suffix = (endpoint, "") if endpoint is not None else (self._stem, SCHEMES[self.scheme].suffix)
        return safe_name(f"{self.prefix}.{stem}" if self.prefix else stem, suffix + (".cpu" if cpu else ""))

    @property
    def _stem(self) -> str:
        return SCHEMES[self.scheme].stem or self.app_name


def _user_tag(tag: str, ours: Iterable[str | None]) -> str:
    """Check one `--tag`, and make it safe."""
    key, colon, value = tag.partition(":")
    if not (key and colon and value):
        raise OptionError(f"--tag {tag!r}: write it as KEY:VALUE")
    safe = safe_tag(key, value)
    lower = safe.partition(":")[0].lower()
    if lower in RESERVED_KEYS:
        raise OptionError(f"--tag {tag!r}: {lower} would move the metrics to another host; use another key")
    if lower in ours:
        raise OptionError(f"--tag {tag!r}: {lower} is taken from the log; use another key")
    return safe
