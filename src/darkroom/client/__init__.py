"""The HTTP API for Python programs: one conversation, and two thin faces that hold it, `Client` and `AsyncClient`."""
