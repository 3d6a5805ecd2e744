"""Random apps, with every kind of rule that Werkzeug knows, and random requests that nearly fit them."""

from __future__ import annotations

import random
import uuid
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote_from_bytes

from flask import Flask
from werkzeug.exceptions import Forbidden, MethodNotAllowed, NotFound
from werkzeug.routing import BaseConverter, IntegerConverter, Map, RequestRedirect, Rule, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable


class Boom(RuntimeError):
    """Raised by a converter that wants a database."""


class DeniedMethod(MethodNotAllowed):
    """A 405 that is a converter's doing, not the map's."""


class Slug(BaseConverter):
    regex = "[a-z0-9-]+"


class First(BaseConverter):
    weight = 1


class Last(BaseConverter):
    weight = 300


class Wild(BaseConverter):
    regex = ".*?"
    part_isolating = False
    weight = 250


class Words(BaseConverter):
    regex = "[a-z]+(?:/[a-z]+)*"
    part_isolating = False


class Grouped(BaseConverter):
    regex = "(a|b)+(-(c))?"


class Year(IntegerConverter):
    regex = "[0-9]{4}"


class Loose(IntegerConverter):
    regex = "[0-9a-c]+"


class Even(BaseConverter):
    regex = "[0-9]+"

    def to_python(self, value: str) -> int:
        if int(value) % 2:
            raise ValidationError
        return int(value)


class Fussy(BaseConverter):
    """Refuses in every way that there is."""

    answers: ClassVar[dict[str, Callable[[], Exception]]] = {
        "a": ValidationError,
        "b": NotFound,
        "ab": Forbidden,
        "1": DeniedMethod,
        "22": lambda: RequestRedirect("http://elsewhere.test/"),
        "x y": Boom,
    }

    def to_python(self, value: str) -> str:
        if value in self.answers:
            raise self.answers[value]()
        return value


CONVERTERS: dict[str, type[BaseConverter]] = {
    "slug": Slug,
    "first": First,
    "last": Last,
    "wild": Wild,
    "words": Words,
    "grouped": Grouped,
    "year": Year,
    "loose": Loose,
    "even": Even,
    "fussy": Fussy,
}

WORDS = ["a", "b", "ab", "é", "x y", "a.b", "c-d", "", "%", "(", "1", "22", "2024", "日本", "A", "\n", "\\"]
VARIABLES = {
    "": ["a", "é", "x y", "1", "\ufffd", "a\nb"],
    "string": ["a", "b/a", "."],
    "string(length=2)": ["ab", "a", "日本"],
    "string(minlength=2, maxlength=3)": ["abc", "abcd"],
    "int": ["1", "22", "007", "-1", "٣", "9" * 700, "9" * 5000, "1.0", "²"],
    "int(min=5, max=30)": ["4", "5", "22", "31"],
    "int(signed=True, max=3)": ["-7", "3", "4"],
    "int(fixed_digits=3)": ["007", "22", "1234"],
    "float": ["1.5", "1", "2.0", "1" * 400 + ".0", "٣.٣"],
    "float(min=1.5, signed=True)": ["1.5", "1.25", "-2.0"],
    "path": ["a", "a/b", "a/b/", "/a", "a//b", "é/x y", "a\nb"],
    'any(a, b, "x y")': ["a", "b", "x y", "c"],
    "uuid": [str(uuid.UUID(int=7)), str(uuid.UUID(int=2**127)).upper(), "7"],
    "slug": ["c-d", "a", "1", "é"],
    "first": ["a", "1", "x y"],
    "last": ["a", "1"],
    "wild": ["", "a", "a/b", "/", "a//"],
    "words": ["a", "a/b", "a/1"],
    "grouped": ["a", "ab-c", "bb", "c"],
    "year": ["2024", "202", "1"],
    "loose": ["22", "a", "1c"],
    "even": ["2", "1", "22", "7", "0"],
    "fussy": ["a", "b", "ab", "1", "22", "c", "x y"],
}
DEFAULTS: dict[str, list[Any]] = {
    "int": [1, 22, 1.0, True, "1"],
    "string": ["a", 1],
    "": ["a", "é"],
    "float": [1.5, 2],
    "uuid": [uuid.UUID(int=7), str(uuid.UUID(int=7))],
    "slug": ["a"],
    "even": [2],
}
METHODS: list[list[str] | None] = [
    *3 * [None],
    *2 * [["GET"]],
    ["POST"],
    ["GET", "PUT"],
    ["GET", "POST"],
    ["MAGIC"],
    [],
]
HOSTS = ["h.test", "<sub>.test", "h.test:8080", None, "<int:n>.h.test", "<path:p>", "xn--9ca.test"]
SUBDOMAINS = ["", "a", "<sub>", "<int:n>.a", None]
ASKED_HOSTS = [
    "h.test",
    "a.test",
    "H.Test:8080",
    "7.h.test",
    "",
    "h.test:80",
    "é.test",
    "a..b",
    "site.test:80",
]
SITE = "site.test"
ASKED_SITES = [
    SITE,
    f"a.{SITE}",
    f"b.{SITE}",
    f"7.a.{SITE}",
    "other.test",
    f"A.{SITE}:80",
    f".{SITE}",
    f"x{SITE}",
]

ASKED = {"host": ASKED_HOSTS, "subdomain": ASKED_SITES, "served": ASKED_SITES}

Variables = dict[str, str]


class RandomApp:
    """An app with a random map, and requests for it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        chance = self.random.random
        self.kind = self.random.choice(5 * ["plain"] + ["host", "subdomain", "served", "ignored", "www"])
        self.app = Flask(f"app{seed}", static_folder=None)
        self.app.url_map = Map(
            host_matching=self.kind == "host",
            default_subdomain="www" if self.kind == "www" else "",
            strict_slashes=chance() < 0.7,
            merge_slashes=chance() < 0.8,
            redirect_defaults=chance() < 0.8,
            converters=CONVERTERS,
        )
        self.app.subdomain_matching = self.kind == "subdomain"
        if self.kind in {"subdomain", "served"}:
            self.app.config["SERVER_NAME"] = SITE
        self.shapes: list[tuple[str, Variables]] = []
        for number in range(self.random.choice([1, 3, 8, 20, 40])):
            self._add_rule(f"e{number}")

    def _add_rule(self, endpoint: str) -> None:
        pick, chance = self.random.choice, self.random.random
        text, variables = self._text()
        options: dict[str, Any] = {"endpoint": endpoint, "methods": pick(METHODS)}
        for flag in ("strict_slashes", "merge_slashes"):
            if chance() < 0.3:
                options[flag] = chance() < 0.5
        options["build_only"] = chance() < 0.05
        if chance() < 0.1:
            options["websocket"] = True
            options["methods"] = pick([None, ["GET"]])
        if chance() < 0.08:
            options["redirect_to"] = pick(
                ["/other", lambda *_, **__: "/other", "/o/<v0>" if variables else "/o"]
            )
        if self.kind == "host":
            options["host"] = pick(HOSTS)
        elif self.kind != "plain" and chance() < 0.5:
            options["subdomain"] = pick(SUBDOMAINS)
        twin = self._twin(text, variables, options) if variables and chance() < 0.4 else None
        self._add(text, variables, options)
        if twin is not None:
            self._add(*twin)

    def _add(self, text: str, variables: Variables, options: dict[str, Any]) -> None:
        try:
            self.app.url_map.add(Rule(text, **options))
        except Exception:
            return  # Werkzeug takes no such rule
        self.shapes.append((text, variables))

    def _twin(self, text: str, variables: Variables, options: dict[str, Any]) -> Any:
        """A rule for the same endpoint, with a default in place of a variable, or as an alias."""
        name = self.random.choice(sorted(variables))
        other, _ = self._text()
        kept = {each: kind for each, kind in variables.items() if each != name}
        if self.random.random() < 0.3:
            return f"/alias{text}", variables, {**options, "alias": True}
        if variables[name] not in DEFAULTS or "<" in other:
            return None
        value = self.random.choice(DEFAULTS[variables[name]])
        path = other + "".join(
            f"{'' if other.endswith('/') else '/'}<{kind}:{each}>" for each, kind in kept.items() if kind
        )
        if "redirect_to" in options:
            options = {**options, "redirect_to": "/other"}
        return path, kept, {**options, "defaults": {name: value}}

    def _text(self) -> tuple[str, Variables]:
        variables: Variables = {}
        segments: list[str] = []
        for _ in range(self.random.randrange(0, 5)):
            segment = ""
            for _ in range(self.random.choice([1, 1, 1, 1, 2, 3])):
                if self.random.random() < 0.5:
                    segment += self.random.choice(WORDS)
                    continue
                kind = self.random.choice(list(VARIABLES))
                name = f"v{len(variables)}" if self.random.random() < 0.97 else "v0"
                variables[name] = kind
                segment += f"<{kind}:{name}>" if kind else f"<{name}>"
            segments.append(segment)
        return "/" + "/".join(segments) + self.random.choice(["", "", "/"]), variables

    def request(self) -> tuple[str, bytes, str, bool]:
        """(method, target, host, websocket) of a request that fits a rule, or nearly."""
        method = self.random.choice(
            ["GET", "GET", "GET", "GET", "GET", "POST", "HEAD", "OPTIONS", "PUT", "MAGIC", "DELETE"]
        )
        hosts = ASKED.get(self.kind, ["any.test", f"a.{SITE}"])
        return method, self._target(), self.random.choice(hosts), self.random.random() < 0.05

    def _target(self) -> bytes:
        path = self._path().encode()
        if self.random.random() < 0.1:
            at = self.random.randrange(len(path) + 1)
            path = path[:at] + self.random.choice([b"\xff", b"\xc3", b"/", b"\xe2\x82"]) + path[at:]
        safe = self.random.choice([b"/", b"", b"/() .-<>", bytes(set(range(256)) - set(b"%?#"))])
        target = quote_from_bytes(path, safe=safe).encode("latin-1")
        if safe != b"" and self.random.random() < 0.9:
            target = target.replace(b"%2F", b"/")
        elif not target.startswith(b"/"):
            target = b"/" + target
        return target + self.random.choice([b"", b"", b"?a=/b", b"#c?d"])

    def _path(self) -> str:
        if not self.shapes or self.random.random() < 0.05:
            return "/" + "/".join(self.random.choices(WORDS, k=self.random.randrange(5)))
        path, variables = self.random.choice(self.shapes)
        for name, kind in variables.items():
            values = VARIABLES[kind if self.random.random() < 0.95 else "string"]
            value = values[0] if self.random.random() < 0.4 else self.random.choice(values)
            if (
                len(variables) > 1 or len(self.shapes) > 1
            ):  # patterns with several variables take polynomial time
                value = value[:50]
            path = path.replace(f"<{kind}:{name}>" if kind else f"<{name}>", value)
        change = self.random.random()
        if change < 0.1:
            path = path.removesuffix("/") if path.endswith("/") else path + "/"
        elif change < 0.25:
            at = self.random.randrange(len(path))
            path = path[:at] + "/" * self.random.randrange(1, 4) + path[at:]
        elif change < 0.35:
            segments = path.split("/")
            segments[self.random.randrange(len(segments))] = self.random.choice(WORDS)
            path = "/".join(segments)
        elif change < 0.4:
            path = path.replace("/", "//")
        return path
