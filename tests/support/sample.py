"""The sample app, loaded once for all tests, and what else they all start from."""

from __future__ import annotations

from functools import cache

from places import SHOP

from logstatsd.routing import app as apps
from logstatsd.routing.router import Router


@cache
def loaded() -> apps.LoadedApp:
    return apps.load([SHOP])


@cache
def router() -> Router:
    return Router(loaded().snapshot())
