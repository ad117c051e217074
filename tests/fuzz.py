"""Calls that an OpenAPI document allows, and some that it does not."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable


def fuzz(operation: Any, headers: dict[str, str], checks: list[Any], calls: int) -> None:
    """Makes some well-formed and some malformed calls of one operation and holds each answer against `checks`.

    The strategies are called directly, as schemathesis's own pytest plugin does not know pytest 9.
    """
    for mode in schemathesis.GenerationMode:

        @settings(
            max_examples=calls,
            deadline=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def call(case: Any) -> None:
            case.call_and_validate(headers=headers, checks=checks, timeout=30)

        with suppress(Unsatisfiable):  # a call without parameters cannot be malformed
            call()
