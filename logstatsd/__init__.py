"""Per-route latency metrics for Flask apps, from the access logs they already write."""

__version__ = "0.1.0"
