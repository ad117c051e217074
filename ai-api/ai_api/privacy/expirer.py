"""Erase what is old: images together with the rows that refer to them, once a task's retention period is over, and
responses to requests with an `Idempotency-Key` after a day.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from ai_api.errors import BlobsUnavailable
from ai_api.images.blobs import Blobs
from ai_api.outbox.outbox import Outbox

log = logging.getLogger(__name__)

FIRST_SECONDS, PAUSE_SECONDS = 60.0, 3_600.0
MARGIN = timedelta(days=1)
"""data-api deletes expired rows periodically, so an image is kept a day longer than the rows that refer to it."""


class Expirer:
    """Runs for as long as the service does. `kept_days` returns, by task, how many days a row is kept at most."""

    def __init__(self, blobs: Blobs, outbox: Outbox, kept_days: Callable[[], Mapping[str, int]]) -> None:
        self._blobs = blobs
        self._outbox = outbox
        self._kept_days = kept_days

    async def run(self) -> None:
        """Erases what has expired once an hour, until cancelled."""
        await asyncio.sleep(FIRST_SECONDS)
        while True:
            await self._outbox.expire_responses()
            await self.expire()
            await asyncio.sleep(PAUSE_SECONDS)

    async def expire(self) -> None:
        """Erases images that no kept row can refer to. A store that does not respond is tried again next time."""
        now = datetime.now(UTC)
        for task, days in sorted(self._kept_days().items()):
            try:
                images = await asyncio.to_thread(self._blobs.expire, task, now - timedelta(days=days) - MARGIN)
            except BlobsUnavailable as error:
                log.warning("old images are not erased yet task=%s: %s", task, error)
                continue
            if images:
                log.info("erased images past their retention task=%s images=%d", task, images)
