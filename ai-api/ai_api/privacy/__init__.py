"""Erase and expire what this service holds of people."""
