"""Serving: load a version, batch what waits, keep every answer until data-api has it."""
