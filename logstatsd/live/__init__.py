"""The same metrics from inside the running app."""
