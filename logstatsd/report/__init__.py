"""A Summary of a log, and what is drawn of it."""
