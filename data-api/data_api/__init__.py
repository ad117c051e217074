"""Keeps the people, predictions and feedback of Volant."""

__version__ = "0.1.0"
