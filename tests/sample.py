"""The sample app, loaded once for all tests, and what else they all start from."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from logstatsd.routing import app as apps
from logstatsd.routing.router import Router

ROOT = Path(__file__).parent.parent
LOGS = ROOT / "sample_logs"
APP = f"{LOGS / 'shop.py'}:app"


@cache
def loaded() -> apps.LoadedApp:
    return apps.load([APP])


@cache
def router() -> Router:
    return Router(loaded().snapshot())
