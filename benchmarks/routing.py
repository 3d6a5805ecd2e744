"""How fast the router is beside decoding and MapAdapter.match, and that nothing makes it fall off a cliff.

Run it as `python benchmarks/routing.py`; it prints a table of microseconds a request and the ratio.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from flask import Flask
from werkzeug.exceptions import HTTPException

from logstatsd.routing import app as apps
from logstatsd.routing.router import Router

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROUNDS = 5


def app_of(*rules: str) -> Flask:
    app = Flask("bench")
    for number, rule in enumerate(rules):
        app.add_url_rule(rule, f"endpoint{number}", lambda **_: "")
    return app


def usual_app() -> Flask:
    """73 rules as a web shop's API has them."""
    rules: list[str] = []
    for name in ("users", "orders", "items", "carts", "shops", "reviews", "stocks", "prices", "events"):
        rules += [
            f"/api/v1/{name}/",
            f"/api/v1/{name}/<int:id>",
            f"/api/v1/{name}/<int:id>/history",
            f"/api/v1/{name}/<int:id>/tags/<tag>",
            f"/api/v1/{name}/by-uuid/<uuid:id>",
            f"/api/v1/{name}/search",
            f"/files/{name}/<path:path>",
            f"/{name}/<slug>",
        ]
    return app_of(*rules)


def seconds_each(*asked: tuple[Callable[[bytes], object], Sequence[bytes]]) -> list[float]:
    """The least time a target of some rounds, taken in turn: what else runs only ever adds, to all alike."""
    best = [float("inf")] * len(asked)
    for _ in range(ROUNDS):
        for at, (ask, targets) in enumerate(asked):
            start = time.perf_counter()
            for target in targets:
                ask(target)
            best[at] = min(best[at], (time.perf_counter() - start) / len(targets))
    return best


def compare(name: str, app: Flask, targets: Sequence[bytes], slow: int = 1) -> None:
    adapter = app.url_map.bind("localhost")
    router = Router(apps.from_object(app).snapshot())

    def by_werkzeug(target: bytes) -> object:
        path = unquote_to_bytes(target.partition(b"?")[0]).decode("utf-8", "replace")
        try:
            return adapter.match(path, "GET", return_rule=True)
        except HTTPException:
            return None

    few = targets[:1000]
    theirs, new, known = seconds_each(
        (by_werkzeug, targets[: max(2, len(targets) // slow)]),
        (lambda target: router.walk("GET", target), targets),
        (lambda target: router.match("GET", target), few),
    )
    print(
        f"{name:44}{theirs * 1e6:12.2f}{new * 1e6:10.2f}{known * 1e6:10.2f}"
        f"{theirs / new:9.1f}x{theirs / known:9.0f}x"
    )


def start_up(app: Flask) -> float:
    """Milliseconds to import the router and build it, in a fresh interpreter."""
    code = (
        "import sys, time, json\ndata = json.loads(sys.stdin.read())\nstart = time.perf_counter()\n"
        "from logstatsd.routing.router import Router\nRouter(data)\nprint(time.perf_counter() - start)\n"
        "assert not {'flask', 'werkzeug'} & set(sys.modules)"
    )
    text = json.dumps(apps.from_object(app).snapshot())
    runs = [
        subprocess.run([sys.executable, "-c", code], input=text, capture_output=True, text=True, check=True)
        for _ in range(ROUNDS)
    ]
    return min(float(run.stdout) for run in runs) * 1000


def main() -> None:
    print(f"{'microseconds a request':44}{'werkzeug':>12}{'new':>10}{'known':>10}{'ratio':>10}{'known':>10}")
    usual = usual_app()
    ids = range(1000, 6000)
    compare("static", usual, [b"/api/v1/users/search?q=%d" % n for n in ids])
    compare("int", usual, [b"/api/v1/orders/%d" % n for n in ids])
    compare("uuid", usual, [b"/api/v1/items/by-uuid/" + str(uuid.UUID(int=n << 64)).encode() for n in ids])
    compare("int + string", usual, [b"/api/v1/items/%d/tags/t%d" % (n, n) for n in ids])
    compare("percent-encoded string", usual, [b"/users/caf%%C3%%A9-%d" % n for n in ids])
    compare("flood of distinct unmatched paths", usual, [b"/wp-%d/x.php" % n for n in ids])
    siblings = app_of(*(f"/<int:a>-x{n}" for n in range(700)))
    compare("700 siblings by suffix", siblings, [b"/%d-x%d" % (n, n % 700) for n in ids], slow=500)
    compare("700 siblings by suffix, unmatched", siblings, [b"/%d-y%d" % (n, n % 700) for n in ids], slow=500)
    prefixed = app_of(*(f"/x{n}-<int:a>" for n in range(700)))
    compare("700 siblings by prefix", prefixed, [b"/x%d-%d" % (n % 700, n) for n in ids], slow=500)
    many = app_of(*(f"/{a}{n}/<int:id>/{b}" for n in range(500) for a, b in ("ab", "cd", "ef", "gh")))
    compare("2,000 rules", many, [b"/c%d/%d/d" % (n % 500, n) for n in ids])
    compare("a path of 8,000 slashes", usual, [b"/users" + b"/a" * 4000] * 20)
    compare("a path of 8,000 digits", usual, [b"/api/v1/users/" + b"7" * 8000] * 200)
    print(f"\nimport and build from 73 rules: {start_up(usual):.1f} ms")


if __name__ == "__main__":
    main()
