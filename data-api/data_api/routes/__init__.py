"""The calls."""
