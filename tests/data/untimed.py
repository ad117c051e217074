"""Hypothesis settings without time limits, so that property tests do not depend on the speed of the machine."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
