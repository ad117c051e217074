"""What one caller may ask for in a time: token buckets (RFC 2697 calls them committed bursts), one for each caller."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ai_api.errors import LimitReached
from ai_api.metrics import LIMITED

TRAINER_FACTOR = 10
"""How much more trainers and admins may ask for than users."""
HOUR, DAY = 3_600.0, 86_400.0


@dataclass(slots=True)
class Bucket:
    """What a caller may still ask for, at the monotonic time `at`. Below 0 after a request that was larger."""

    left: float
    at: float


class CallerLimit:
    """Each caller may ask for `amount` at once, which comes back evenly within `seconds`.

    A request is refused only when nothing is left, so one that is larger than what is left is served, and the next
    ones wait for longer. The buckets are of this process and start full.
    """

    def __init__(self, name: str, what: str, amount: float, seconds: float) -> None:
        self._name = name
        self._what = what
        self._amount = amount
        self._seconds = seconds
        self._buckets: dict[str, Bucket] = {}

    def charge(self, caller: str, amount: float, *, is_trainer: bool = False) -> None:
        """Takes the amount from the caller's bucket; LimitReached when it is empty."""
        most = self._amount * (TRAINER_FACTOR if is_trainer else 1)
        now = time.monotonic()
        bucket = self._buckets.get(caller)
        if bucket is None:
            bucket = self._buckets[caller] = Bucket(most, now)
        speed = most / self._seconds
        bucket.left, bucket.at = min(most, bucket.left + (now - bucket.at) * speed), now
        if bucket.left < 1:
            LIMITED.labels(self._name).inc()
            raise LimitReached(
                f"You have reached a limit of each caller: {self._what}. Retry-After says how long to wait.",
                retry_seconds=max(1.0, (1 - bucket.left) / speed),
            )
        bucket.left -= amount


@dataclass(frozen=True)
class CallerLimits:
    """The limits of each caller: cost of rows, feedback, and bytes of images to store."""

    cost: CallerLimit
    feedback: CallerLimit
    images: CallerLimit

    @classmethod
    def of(cls, cost_per_minute: int, feedback_per_hour: int, image_bytes_per_day: int) -> CallerLimits:
        """The limits as the settings AI_CALLER_* give them."""
        return cls(
            CallerLimit("cost", f"{cost_per_minute} tokens or rows a minute (AI_CALLER_COST)", cost_per_minute, 60),
            CallerLimit(
                "feedback", f"{feedback_per_hour} feedback an hour (AI_CALLER_FEEDBACK)", feedback_per_hour, HOUR
            ),
            CallerLimit(
                "images",
                f"{image_bytes_per_day} bytes of images a day (AI_CALLER_IMAGE_BYTES)",
                image_bytes_per_day,
                DAY,
            ),
        )
