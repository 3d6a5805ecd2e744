"""Router against Werkzeug's own MapAdapter.match, over random maps and random requests: no difference.

LOGSTATSD_TEST_ROUTE_CASES says how many requests (500,000 take some minutes), LOGSTATSD_TEST_ROUTE_SEED
which.
"""

from __future__ import annotations

import json
import os
import pickle
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from random_maps import RandomApp
from referee import adapter_for, what_flask_matched

from logstatsd.model.route import Undecided
from logstatsd.routing import app as apps
from logstatsd.routing.router import Router
from logstatsd.routing.snapshot import dump_snapshot

if TYPE_CHECKING:
    from werkzeug.routing import MapAdapter

CASES = int(os.environ.get("LOGSTATSD_TEST_ROUTE_CASES", "12000"))
SEED = int(os.environ.get("LOGSTATSD_TEST_ROUTE_SEED", "1"))
A_MAP = 60


@pytest.mark.slow
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
            expected = what_flask_matched(source.app, adapters[host], method, target, websocket)
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
