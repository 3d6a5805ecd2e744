"""Send the same metrics from inside the running app."""
