"""Pictures go with the rows that they belong to, once a task's days of retention are over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from ai_api.blobs import Blobs
from ai_api.errors import BlobsUnavailable

log = logging.getLogger(__name__)

FIRST_SECONDS, PAUSE_SECONDS = 60.0, 3_600.0
MARGIN = timedelta(days=1)
"""data-api deletes rows now and then only: a picture outlives its rows, never the other way round."""


class Expirer:
    """Runs for as long as the service does. `kept_days` gives, by task, how long a row of it is kept at most."""

    def __init__(self, blobs: Blobs, kept_days: Callable[[], Mapping[str, int]]) -> None:
        self._blobs = blobs
        self._kept_days = kept_days

    async def run(self) -> None:
        """Looks once an hour, until cancelled."""
        await asyncio.sleep(FIRST_SECONDS)
        while True:
            await self.expire()
            await asyncio.sleep(PAUSE_SECONDS)

    async def expire(self) -> None:
        """Erases what no row can refer to any more. A store that does not answer is asked again the next time."""
        now = datetime.now(UTC)
        for task, days in sorted(self._kept_days().items()):
            try:
                pictures = await asyncio.to_thread(self._blobs.expire, task, now - timedelta(days=days) - MARGIN)
            except BlobsUnavailable as error:
                log.warning("old pictures are not erased yet task=%s: %s", task, error)
                continue
            if pictures:
                log.info("erased pictures past their days task=%s pictures=%d", task, pictures)
