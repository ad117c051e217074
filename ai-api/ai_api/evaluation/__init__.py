"""Metrics of a version, and the gate that compares it with the champion."""
