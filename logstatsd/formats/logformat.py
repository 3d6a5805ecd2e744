"""LogFormat: a server's format string, parsed into its variables and the roles that they serve."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from logstatsd.errors import FormatError
from logstatsd.formats.fields import TEXT, Field, rank
from logstatsd.formats.servers import SERVERS, Server, server_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Row = tuple[bytes, ...]


MOST_VARIABLES = 256
OPEN_ENDED = frozenset({"text", "request"})
"""Kinds of value that may hold anything, so that only what follows tells where they end."""
PATH_AND_QUERY = frozenset({("path", "is_args"), ("path", "q")})
"""The role and the variable that may touch: a path ends at a question mark."""


class Token(NamedTuple):
    """One variable of a format string: its name there, and what it stands for."""

    name: str
    field: Field


_TARGETS = {"request", "target", "path"}
_OVERRULED = (("request", "method"), ("request", "target"), ("request", "path"), ("target", "path"))
"""Of two roles that say the same, the one that says it better, and the one that is then not read."""

UNITS_BY_SUFFIX = {
    "s": "seconds",
    "ms": "milliseconds, maybe with decimals",
    "us": "microseconds, maybe with decimals",
    "ns": "nanoseconds",
}
"""What may follow the name of a duration, as in `--field duration=rt:ms`: entries of `times.UNITS`."""


def split_unit(name: str) -> tuple[str, str]:
    """Split `rt:ms` into `rt` and the unit meant; a name without one into itself and nothing."""
    bare, _, suffix = name.rpartition(":")
    return (bare, UNITS_BY_SUFFIX[suffix]) if bare and suffix in UNITS_BY_SUFFIX else (name, "")


@dataclass(frozen=True)
class LogFormat:
    """One log format: plain data that pickles, compares and goes into a checkpoint.

    `layout` is the format string in the words of `server` (a key of SERVERS), a JSON object's text where the
    log is JSON. `assigned` names the variable to take a role from, where that is not the usual one, a
    duration's maybe with its unit. `escape` is nginx's `escape=` parameter: `default`, `json` or `none`.
    `envelopes` are what has been put around each line, outermost first (keys of `envelopes.ENVELOPES`).
    """

    name: str
    layout: str
    server: str
    assigned: tuple[tuple[str, str], ...] = ()
    escape: str = "default"
    envelopes: tuple[str, ...] = ()

    def __hash__(self) -> int:  # few differ only in the other fields, and formats are keys in hot loops
        return hash(self.layout)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> LogFormat:
        """Make a format of what `dataclasses.asdict` made of one, also after a way through JSON."""
        assigned, envelopes = tuple(map(tuple, data["assigned"])), tuple(data.get("envelopes", ()))
        return cls(**{**data, "assigned": assigned, "envelopes": envelopes})

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def rules(self) -> Server:
        """The server's way of writing."""
        return SERVERS.get(f"{self.server} escape={self.escape}", SERVERS[self.server])

    @cached_property
    def is_json(self) -> bool:
        return self.layout.lstrip().startswith("{") and self.layout.rstrip().endswith("}")

    @cached_property
    def tokens(self) -> tuple[str | Token, ...]:
        """The literals and variables of the layout, in turn."""
        return tuple(map(self._in_its_unit, _tokens(self.layout, self.server)))

    def _in_its_unit(self, token: str | Token) -> str | Token:
        """Give a variable that was assigned as a duration together with its unit that unit."""
        name, unit = split_unit(dict(self.assigned).get("duration", ""))
        if not unit or isinstance(token, str) or token.name != name:
            return token
        return token._replace(field=token.field._replace(unit=unit))

    @cached_property
    def keys(self) -> tuple[tuple[str, Token], ...]:
        """For JSON: each key with the one variable that is its value; keys of other make-up are left out.

        A key within an object is named `outer.inner`.
        """
        bare = re.compile(rf"([:,\[]\s*)({self.rules.directive.pattern})(?=\s*[,\]}}])")
        try:
            item: dict[str, object] = json.loads(bare.sub(r'\1"\2"', self.layout))
        except ValueError as error:
            raise FormatError(f"the JSON log format {self.layout!r} is not JSON: {error}") from None
        found = []
        for key, value in flat(item):
            tokens = [self._in_its_unit(token) for token in _tokens(str(value), self.server)]
            if len(tokens) == 1 and isinstance(tokens[0], Token):
                found.append((key, tokens[0]))
        return tuple(found)

    @cached_property
    def variables(self) -> tuple[Token, ...]:
        """Every variable of the format, in order."""
        if self.is_json:
            return tuple(token for _, token in self.keys)
        return tuple(token for token in self.tokens if isinstance(token, Token))

    @cached_property
    def chosen(self) -> dict[str, Token]:
        """For each role the variable that serves it. Raises FormatError where the layout does not serve."""
        _refuse_unreadable(self)
        chosen: dict[str, Token] = {}
        for token in self.variables:
            role = token.field.role
            if role and (role not in chosen or rank(token.name) < rank(chosen[role].name)):
                chosen[role] = token
        chosen |= {role: self._named(role, name) for role, name in self.assigned}
        asked = next((token for token in self.variables if token.name == "upstream_response_time"), None)
        if asked:  # as good as the upstream's address: `-` where nginx asked none
            chosen.setdefault("upstream", asked)
        for better, worse in _OVERRULED:
            if better in chosen:
                chosen.pop(worse, None)
        missing = [
            what
            for what, roles in (
                ("status", {"status"}),
                ("method", {"request", "method"}),
                ("target", _TARGETS),
            )
            if not roles & chosen.keys()
        ]
        if missing:
            raise FormatError(
                f"the log format {self.layout!r} has no {' and no '.join(missing)}; add it to the log"
            )
        return chosen

    def validate(self) -> None:
        """Raise FormatError where a role that a report needs is missing, or an assigned variable is."""
        _ = self.chosen

    def _named(self, role: str, name: str) -> Token:
        """Find the variable of that name, for a role that it was given by the user."""
        name = split_unit(name)[0] if role == "duration" else name
        fitting = [token for token in self.variables if role != "duration" or token.field.unit]
        for token in fitting:
            if token.name == name:
                return token
        if any(token.name == name for token in self.variables):
            raise FormatError(f"say the unit of {name!r}: --field duration={name}:ms, or :s, :us, :ns")
        known = ", ".join(token.name for token in fitting) or "none"
        raise FormatError(f"the log format {self.name!r} has no {role} {name!r}; it has: {known}")

    @property
    def duration_unit(self) -> str:
        """The entry of `times.UNITS` that the durations are in; "" where the log has none."""
        token = self.chosen.get("duration")
        return token.field.unit if token else ""

    @property
    def duration_source(self) -> str:
        """The source of the durations, in words; "" where the log has none."""
        token = self.chosen.get("duration")
        if token is None:
            return ""
        key = next((key for key, other in self.keys if other is token), "") if self.is_json else ""
        return f"{key or self.rules.spelled.format(token.name)} ({self.duration_unit})"

    def assign(self, role: str, name: str) -> LogFormat:
        """Give the same format with a role taken from the variable named (`$` or `%(…)s` may be left on)."""
        bare, unit = split_unit(re.sub(r"^\$\{?|\}$|^%\(|\)s$", "", name))
        if self.is_json and not any(token.name == bare for token in self.variables):
            bare = next((token.name for key, token in self.keys if key == bare), bare)
        suffix = f":{name.rpartition(':')[2]}" if unit else ""
        return replace(self, assigned=tuple({**dict(self.assigned), role: bare + suffix}.items()))

    def unescape(self, value: bytes) -> bytes:
        """Give the bytes that the server had before it wrote them into its log."""
        return value if self.is_json else self.rules.unescape(value)


def _refuse_unreadable(log_format: LogFormat) -> None:
    """Raise FormatError for a text layout whose values cannot be told apart in a line."""
    if "\n" in log_format.layout:
        raise FormatError(
            f"the log format {log_format.layout!r} has a line break: logs are read line by line"
        )
    if len(log_format.variables) > MOST_VARIABLES:
        raise FormatError(
            f"the log format {log_format.layout[:40]!r}… has {len(log_format.variables):,} variables; "
            f"at most {MOST_VARIABLES} are read"
        )
    for one, other in itertools.pairwise(log_format.tokens):
        if isinstance(one, Token) and isinstance(other, Token) and _runs_into(one, other, log_format.server):
            first, second = (log_format.rules.spelled.format(each.name) for each in (one, other))
            raise FormatError(
                f"the log format {log_format.layout!r} has {first} right before {second}, and nothing tells "
                "where the one ends: put a space between them, or quotes around them"
            )


def _runs_into(one: Token, other: Token, server: str) -> bool:
    """Whether nothing tells where one value ends and the other, right after it, begins."""
    if (one.field.role, other.name) in PATH_AND_QUERY:
        return server == "gunicorn"  # whose query lacks the question mark
    return one.field.kind in OPEN_ENDED


def flat(item: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """List the keys and values of a JSON object, those of objects within it as `outer.inner`."""
    if not isinstance(item, dict):
        return
    for key, value in item.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _tokens(layout: str, server: str) -> Iterator[str | Token]:
    """Yield the literals and the variables of a format string, empty literals left out."""
    directive, fields = SERVERS[server].directive, SERVERS[server].fields
    literal, position = "", 0
    for match in directive.finditer(layout):
        literal += layout[position : match.start()]
        position = match.end()
        if match[1] == "%":
            literal += "%"
            continue
        name = match[1] or match[2]
        name = name.lower() if server == "gunicorn" and name.startswith("{") else name
        if literal:
            yield literal
        literal = ""
        yield Token(name, fields.get(name, TEXT))
    if literal + layout[position:]:
        yield literal + layout[position:]


def parse_layout(layout: str, name: str = "given") -> LogFormat:
    """Understand a format string of nginx, gunicorn or Apache, given as it stands in their configuration.

    Raises FormatError where it is none of these or lacks what a report needs.
    """
    layout = layout.strip("\r\n")
    server = server_of(layout)
    if server is None:
        raise FormatError(
            f"{layout!r} is neither a format's name nor a format string: "
            "give nginx's log_format, gunicorn's access_log_format or a name from `logstatsd check --formats`"
        )
    found = LogFormat(name, layout, server)
    found.validate()
    return found
