"""Log formats: what servers write and how to read it."""
