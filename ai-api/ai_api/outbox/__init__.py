"""Predictions, feedback and promotions on disk until data-api has them."""
