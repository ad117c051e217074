"""Serving: load versions, batch waiting rows, predict, and store every prediction before it is returned."""
