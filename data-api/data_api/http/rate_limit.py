"""Rate limits, counted in windows of fixed length (twice as many requests may come around the end of a window)."""

from __future__ import annotations

import math
import time

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, Storage
from limits.strategies import FixedWindowRateLimiter

from data_api.errors import ConfigurationError, TooManyRequests


class RateLimits:
    """Counts requests by caller and by address. `per_caller` and `per_address` read like "100/minute"."""

    def __init__(self, storage: Storage, per_caller: str, per_address: str) -> None:
        self.blocks = not isinstance(storage, MemoryStorage)
        """Whether counting waits for Postgres, so that it must not run on the event loop."""
        self._limiter = FixedWindowRateLimiter(storage)
        try:
            self._per_caller, self._per_address = parse(per_caller), parse(per_address)
        except ValueError:
            raise ConfigurationError('A rate limit must read like "100/minute", "10/second" or "5000/hour".') from None

    def count_caller(self, user_id: str) -> None:
        """Counts a request of an authenticated caller; TooManyRequests over the limit."""
        self._count(self._per_caller, "caller", user_id)

    def count_address(self, address: str) -> None:
        """Counts a request from an address; TooManyRequests over the limit."""
        self._count(self._per_address, "address", address)

    def _count(self, item: RateLimitItem, subject_kind: str, subject: str) -> None:
        if not self._limiter.hit(item, subject_kind, subject):
            ends_at = self._limiter.get_window_stats(item, subject_kind, subject).reset_time
            raise TooManyRequests(retry_after=max(1, math.ceil(ends_at - time.time())))
