"""Find logs, and read them as chunks of whole lines: files, streams and compressed files."""
