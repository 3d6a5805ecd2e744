"""The requests of the benchmark's logs: every rule, asked for well and badly, each with its label."""

from __future__ import annotations

import random
import re
from typing import NamedTuple
from urllib.parse import unquote

from bench_app import RULES

FIRST_ID, LAST_ID = 10_000_000, 99_999_999  # eight digits: an int, a float's whole part, a UUID's first group
FRESH_SHARE = 0.18  # of the lines, those whose target occurs nowhere else in the log
VARIANTS = 20  # kept targets of a rule and method
UUID_REST = "-6f1c-4b7e-9a53-2c90d3e1f4aa"
CONVERTER = re.compile(r"<(int|uuid|string|path|float|any)(?:\((?P<choices>[^)]*)\))?:[^>]*>")
METHOD_WEIGHTS = {
    "GET": 1.0,
    "POST": 0.3,
    "PUT": 0.1,
    "PATCH": 0.1,
    "DELETE": 0.1,
    "HEAD": 0.03,
    "OPTIONS": 0.01,
}
STATUSES = {
    "GET": ((200, 90), (304, 5), (404, 3), (403, 1), (500, 0.6), (502, 0.4)),
    "POST": ((201, 80), (200, 10), (400, 7), (422, 2), (500, 1)),
}
QUERIES = ("?page=2&per_page=50", "?sort=-created", "?fields=id,name", "?utm_source=mail&utm_campaign=nov")

# Targets that reach no view: label, method, status, target (with {} for an id that occurs once), weight.
STRAYS: tuple[tuple[str, str, int, str, float], ...] = (
    ("(unmatched)", "GET", 404, "/wp-login.php", 4),
    ("(unmatched)", "POST", 404, "/xmlrpc.php", 2),
    ("(unmatched)", "GET", 404, "/.env", 3),
    ("(unmatched)", "GET", 404, "/.git/config", 2),
    ("(unmatched)", "GET", 404, "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php", 2),
    ("(unmatched)", "GET", 404, "/favicon.ico", 4),
    ("(unmatched)", "GET", 404, "/api/v1/users/undefined", 3),
    ("(unmatched)", "GET", 404, "/api/v1/orders/1234", 1),
    ("(unmatched)", "GET", 404, "/cgi-bin/luci/;stok={}/locale", 1),
    ("(unmatched)", "HEAD", 404, "/backup-{}.zip", 1),
    ("(unmatched)", "GET", 404, "/api/v1/products/%27%20OR%201=1--{}", 1),
    ("(method not allowed)", "POST", 405, "/", 3),
    ("(method not allowed)", "DELETE", 405, "/api/v1/products", 1),
    ("(method not allowed)", "PUT", 405, "/api/v1/orders", 1),
    ("(method not allowed)", "GET", 405, "/api/v1/tokens", 2),
    ("(method not allowed)", "PATCH", 405, "/api/v2/items/{}", 0.5),
    ("(redirect)", "GET", 308, "/blog", 4),
    ("(redirect)", "GET", 308, "/admin?next=users", 1),
    ("(redirect)", "GET", 308, "/api//v1/products", 1),
    ("(redirect)", "GET", 308, "/blog/tags/python", 2),
    ("(redirect)", "HEAD", 308, "/docs", 0.5),
    ("(redirect)", "GET", 308, "/shop/cat-{}", 0.5),
)
STRAY_SHARE = 0.04
FLOOD: tuple[tuple[str, str, int, str, float], ...] = (
    ("(unmatched)", "GET", 404, "/wp-content/plugins/p{}/readme.txt", 5),
    ("(unmatched)", "GET", 404, "/{}/.env", 3),
    ("(unmatched)", "POST", 404, "/cgi-bin/{}.sh?cmd=id", 2),
)
FLOOD_SHARE = 0.9


class Request(NamedTuple):
    """A request to draw: its target is `head`, or `head`, an id never used before and `tail`."""

    rule: str
    method: str
    status: int
    head: str
    tail: str | None
    weight: float

    def target(self, number: int) -> str:
        """Give the target with this id."""
        return self.head if self.tail is None else f"{self.head}{number}{self.tail}"


def fill(rule: str, rng: random.Random) -> str:
    """Replace the converters of a rule by values, the first that takes an id by `{}` and its surroundings."""
    values = {
        "int": lambda: str(rng.randint(1, 400)),
        "uuid": lambda: f"{rng.randrange(1 << 32):08x}{UUID_REST}",
        "string": lambda: rng.choice(("shoes", "red-wool-hat", "caf%C3%A9", "q3.2026", "a_b", "x~y")),
        "path": lambda: rng.choice(
            ("index.html", "css/site.css", "a/b/c.tar.gz", "img/2026/11/logo%20big.png")
        ),
        "float": lambda: f"{rng.uniform(0, 180):.4f}",
    }

    def value(found: re.Match[str]) -> str:
        if found["choices"]:
            return rng.choice(found["choices"].split(", "))
        return values[found[1]]()

    return CONVERTER.sub(value, rule)


def fresh(rule: str, rng: random.Random) -> tuple[str, str]:
    """Split a target of this rule at the place of an id that no other line has."""
    around = {
        "int": ("", ""),
        "uuid": ("", UUID_REST),
        "string": ("item-", ""),
        "path": ("d/f-", ".txt"),
        "float": ("", ".25"),
    }
    for found in CONVERTER.finditer(rule):
        if found[1] in around:
            before, after = around[found[1]]
            return fill(rule[: found.start()], rng) + before, after + fill(rule[found.end() :], rng)
    return fill(rule, rng) + "?cursor=", ""


def matched(rng: random.Random, fresh_share: float) -> list[Request]:
    """Ask for every rule by all its methods, some rules far more often than others."""
    ranks = list(range(1, len(RULES) + 1))
    rng.shuffle(ranks)
    requests = []
    for (rule, methods), rank in zip(RULES, ranks, strict=True):
        automatic = ["HEAD", "OPTIONS"] if "GET" in methods else ["OPTIONS"]
        for method in methods.split() + automatic:
            weight = METHOD_WEIGHTS[method] / (rank + 3) / VARIANTS
            statuses, weights = zip(*STATUSES.get(method, STATUSES["GET"]), strict=True)
            for status in rng.choices(statuses, weights, k=VARIANTS):
                query = rng.choice(QUERIES) if rng.random() < 0.15 else ""
                kept = fill(rule, rng) + query
                requests.append(Request(rule, method, status, kept, None, weight * (1 - fresh_share)))
                head, tail = fresh(rule, rng)
                requests.append(Request(rule, method, status, head, tail, weight * fresh_share))
    return scaled(requests, 1.0)


def strays(table: tuple[tuple[str, str, int, str, float], ...]) -> list[Request]:
    """Turn a table of stray targets into requests."""
    requests = []
    for rule, method, status, target, weight in table:
        head, found, tail = target.partition("{}")
        requests.append(Request(rule, method, status, head, tail if found else None, weight))
    return scaled(requests, 1.0)


def scaled(requests: list[Request], total: float) -> list[Request]:
    """Scale the weights to this total."""
    factor = total / sum(request.weight for request in requests)
    return [request._replace(weight=request.weight * factor) for request in requests]


def traffic(rng: random.Random, kind: str) -> list[Request]:
    """Give the requests of a usual log, of one where every target is distinct, or of a flood."""
    if kind == "all-distinct":
        return [request for request in matched(rng, 1.0) if request.tail is not None]
    usual = scaled(matched(rng, FRESH_SHARE), 1 - STRAY_SHARE) + scaled(strays(STRAYS), STRAY_SHARE)
    if kind == "flood":
        return scaled(usual, 1 - FLOOD_SHARE) + scaled(strays(FLOOD), FLOOD_SHARE)
    return usual


def flask_label(method: str, target: str) -> str:
    """Ask Flask itself what it makes of a request."""
    from bench_app import app  # noqa: PLC0415
    from werkzeug.exceptions import MethodNotAllowed, NotFound  # noqa: PLC0415
    from werkzeug.routing import RequestRedirect  # noqa: PLC0415

    try:
        rule, _ = app.url_map.bind("localhost").match(
            unquote(target.partition("?")[0]), method, return_rule=True
        )
    except RequestRedirect:
        return "(redirect)"
    except MethodNotAllowed:
        return "(method not allowed)"
    except NotFound:
        return "(unmatched)"
    return rule.rule


def wrong_labels(seed: int) -> list[str]:
    """Check every label of every kind of traffic with Flask; give what disagrees."""
    wrong = []
    for kind in ("usual", "all-distinct", "flood"):
        for request in traffic(random.Random(seed), kind):
            for number in (FIRST_ID, LAST_ID):
                label = flask_label(request.method, request.target(number))
                if label != request.rule:
                    wrong.append(f"{request.method} {request.target(number)}: {request.rule}, Flask: {label}")
    return wrong
