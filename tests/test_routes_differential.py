"""Router against Werkzeug's own MapAdapter.match, over random maps and random requests: no difference.

LOGSTATSD_ROUTE_CASES says how many requests (500,000 take some minutes), LOGSTATSD_ROUTE_SEED which.
"""

from __future__ import annotations

import json
import os
import pickle
import traceback
import warnings
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import random_maps
from random_maps import Boom, DeniedMethod, RandomApp
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import BuildError, RequestRedirect
from werkzeug.test import EnvironBuilder

from logstatsd import apps
from logstatsd.routes import METHOD_NOT_ALLOWED, REDIRECT, UNMATCHED, Route, Router, Undecided, dump_snapshot

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.routing import MapAdapter, Rule

CASES = int(os.environ.get("LOGSTATSD_ROUTE_CASES", "12000"))
SEED = int(os.environ.get("LOGSTATSD_ROUTE_SEED", "1"))
A_MAP = 60


def adapter_for(app: Flask, host: str) -> MapAdapter | None:
    """The map, bound as Flask binds it for a request with this Host; None where it answers 400."""
    environ = EnvironBuilder().get_environ()
    environ["HTTP_HOST"] = host
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return app.create_url_adapter(app.request_class(environ))
    except HTTPException:
        return None


def label(app: Flask, router: Router, rule: Rule) -> Route:
    text = rule.rule
    if app.url_map.host_matching:
        text = (rule.host or "") + text
    elif router.uses_host and rule.subdomain:
        text = f"{rule.subdomain}.{app.config['SERVER_NAME']}{text}"
    return Route(text, str(rule.endpoint), "matched")


def what_flask_matched(
    app: Flask, router: Router, adapter: MapAdapter | None, method: str, target: bytes, websocket: bool
) -> Route | None:
    """The label by Werkzeug itself; None where a converter broke."""
    if adapter is None:
        return UNMATCHED
    raw = target.partition(b"?")[0].partition(b"#")[0]
    path = unquote_to_bytes(raw).decode("utf-8", "replace")
    try:
        rule, _ = adapter.match(path, method, return_rule=True, websocket=websocket)
    except RequestRedirect:
        return REDIRECT
    except MethodNotAllowed as error:
        return UNMATCHED if isinstance(error, DeniedMethod) else METHOD_NOT_ALLOWED
    except HTTPException:
        return UNMATCHED
    except Boom:
        return None
    except BuildError:
        return REDIRECT  # of which the app cannot make the URL, so that it answers 500
    except (ValueError, TypeError) as error:  # 500, and before Werkzeug 3.1.7 from its own converters too
        raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
        return None if raised_in == random_maps.__file__ else UNMATCHED
    return label(app, router, rule)


def test_router_says_what_werkzeug_says() -> None:
    """Through JSON and pickle, in an app's process and without, remembered and not."""
    seen: Counter[str] = Counter()
    asked = 0
    for seed in range(SEED, SEED + -(-CASES // A_MAP)):
        source = RandomApp(seed)
        loaded = apps.from_object(source.app)
        router: Router = pickle.loads(pickle.dumps(Router(json.loads(dump_snapshot(loaded.snapshot())))))
        adapters: dict[str, MapAdapter | None] = {}
        for _ in range(A_MAP):
            method, target, host, websocket = source.request()
            if host not in adapters:
                adapters[host] = adapter_for(source.app, host)
            expected = what_flask_matched(source.app, router, adapters[host], method, target, websocket)
            answer = router.match(method, target, host, websocket)
            assert router.walk(method, target, host, websocket) == answer
            proven = True
            if isinstance(answer, Undecided):
                asked += 1
                answer, proven = apps.from_object(source.app).resolve(answer)
            case = f"seed {seed}: {method} {target[:200]!r} host {host!r} websocket {websocket}"
            assert proven is (expected is not None), case
            if expected is not None:
                assert answer == expected, f"{case}\n{source.app.url_map}"
            seen[expected.outcome if expected else "broken converter"] += 1
    print(f"{seen.total()} requests compared, {asked} of them by asking the app: {dict(seen)}")
    assert set(seen) >= {"matched", "unmatched", "method_not_allowed", "redirect"}
