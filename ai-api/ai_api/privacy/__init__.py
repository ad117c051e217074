"""Erasure and expiry of what this service holds of people."""
