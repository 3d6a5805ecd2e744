"""Chunks of a log to Batches, or to rows in order."""
