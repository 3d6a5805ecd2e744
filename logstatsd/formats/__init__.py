"""Know the log formats, detect which one a log is in, and read its lines."""
