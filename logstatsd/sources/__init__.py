"""Logs as bytes: files, streams and compressed files, in chunks of whole lines."""
