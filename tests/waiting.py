"""Waiting for a condition, with a bound."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any


def until(true: Callable[[], Any], what: str, seconds: float = 300) -> Any:
    """The first true result of `true`; AssertionError naming `what` when there is none in time.

    The pauses between calls grow, because each call takes time from what is waited for.
    """
    start = time.monotonic()
    while True:
        if found := true():
            return found
        waited = time.monotonic() - start
        assert waited < seconds, f"waited {seconds:.0f} s for {what}"
        time.sleep(min(0.05 + waited / 20, 0.5))


async def eventually(is_true: Callable[[], bool], seconds: float = 10) -> None:
    """Returns once `is_true` is; TimeoutError when it is not in time. Other coroutines run meanwhile."""
    async with asyncio.timeout(seconds):
        while not is_true():
            await asyncio.sleep(0.005)
