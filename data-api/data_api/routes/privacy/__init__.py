"""Calls about privacy: erasure, retention and a person's own data."""
