"""Trains models, keeps them in a registry, and serves the best of each task."""

__version__ = "0.1.0"
