"""How many requests somebody may make, in windows of fixed length (twice as many may come around a window's end)."""

from __future__ import annotations

import math
import time

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, Storage
from limits.strategies import FixedWindowRateLimiter

from .errors import MisSet, TooManyRequests


class Limits:
    """Counts requests by caller and by address. `per_caller` and `per_address` read like "100/minute"."""

    def __init__(self, storage: Storage, per_caller: str, per_address: str) -> None:
        self.blocks = not isinstance(storage, MemoryStorage)
        """Whether counting waits for another process."""
        self._limiter = FixedWindowRateLimiter(storage)
        try:
            self._per_caller, self._per_address = parse(per_caller), parse(per_address)
        except ValueError:
            raise MisSet('A rate limit must read like "100/minute", "10/second" or "5000/hour".') from None

    def count_caller(self, who: str) -> None:
        """Counts a request of somebody who was recognised; TooManyRequests over the limit."""
        self._count(self._per_caller, "caller", who)

    def count_address(self, address: str) -> None:
        """Counts a request from an address; TooManyRequests over the limit."""
        self._count(self._per_address, "address", address)

    def _count(self, item: RateLimitItem, kind: str, who: str) -> None:
        if not self._limiter.hit(item, kind, who):
            ends_at = self._limiter.get_window_stats(item, kind, who).reset_time
            raise TooManyRequests(retry_after=max(1, math.ceil(ends_at - time.time())))
