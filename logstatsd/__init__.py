"""Per-route latency metrics for Flask apps, from the access logs they already write."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as `typing` has it, whose import takes longer than all of this
if TYPE_CHECKING:
    from logstatsd.live.middleware import StatsdMiddleware
    from logstatsd.live.timing import StatsD, TimingStats

__all__ = ["StatsD", "StatsdMiddleware", "TimingStats", "__version__"]
__version__ = "0.1.0"

# Imported when asked for: a command's worker processes need neither Flask nor the datadog client.
_HOMES = {
    "StatsD": "logstatsd.live.timing",
    "StatsdMiddleware": "logstatsd.live.middleware",
    "TimingStats": "logstatsd.live.timing",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
