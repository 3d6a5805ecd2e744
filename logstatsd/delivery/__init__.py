"""Metrics on their way to a server: names, wire forms, encoders, sinks."""
