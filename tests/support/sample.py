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


def line(
    target: str = "/health",
    status: int = 200,
    took: str = "0.001",
    *,
    second: int = 15,
    offset: str = "+0000",
) -> bytes:
    """One of nginx's lines, newline included, about a request on 22 November 2026 at 13:25."""
    time = f"22/Nov/2026:13:25:{second:02} {offset}"
    return f'192.0.2.7 - - [{time}] "GET {target} HTTP/1.1" {status} 2 "-" "-" {took}\n'.encode()
