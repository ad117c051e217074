"""Send the outbox to data-api in batches, at least once. An event that is refused for good never blocks the rest."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from ai_api.data_client import DataClient, Refused
from ai_api.errors import DataUnavailable
from ai_api.metrics import OUTBOX_FAILURES, OUTBOX_SHIPPED

from .file import OutboxEvent
from .outbox import Outbox

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
TAKE_OVER_SECONDS = 15.0


class Shipper:
    """Runs for as long as the service does. `last_error` is why rows wait; None while data-api takes them."""

    def __init__(self, outbox: Outbox, client: DataClient, *, rows: int) -> None:
        self._outbox = outbox
        self._client = client
        self._rows = rows
        self.last_error: str | None = None

    async def run(self) -> None:
        """Sends until cancelled. While data-api does not respond it retries, with pauses of up to 5 s."""
        pause = IDLE_SECONDS
        take_over_at = 0.0
        while True:
            if time.monotonic() >= take_over_at:
                take_over_at = time.monotonic() + TAKE_OVER_SECONDS
                if moved := await self._outbox.take_over():
                    log.info("took over %d rows of an outbox file that no process held", moved)
            try:
                shipped = await self.ship_once()
            except DataUnavailable as error:
                OUTBOX_FAILURES.inc()
                if self.last_error != str(error):
                    log.warning("%d rows wait in the outbox: %s", len(self._outbox), error)
                self.last_error = str(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            if self.last_error is not None:
                log.info("data-api responds again; %d rows to send", len(self._outbox))
                self.last_error = None
            pause = IDLE_SECONDS
            if not shipped:
                await asyncio.sleep(IDLE_SECONDS)

    async def ship_once(self) -> int:
        """Sends one batch of the oldest events; returns its length. DataUnavailable leaves the rest in the outbox."""
        events = await self._outbox.oldest(self._rows)
        for kind in dict.fromkeys(event.kind for event in events):
            await self._ship(kind, [event for event in events if event.kind == kind])
        return len(events)

    async def _ship(self, kind: str, events: Sequence[OutboxEvent]) -> None:
        try:
            statuses = await self._client.ingest(kind, [event.body for event in events])
        except Refused as error:
            if len(events) == 1:
                await self._settle(kind, [], [(events[0], str(error))])
                return
            middle = len(events) // 2  # one event invalidates the whole call: halve until it is alone
            await self._ship(kind, events[:middle])
            await self._ship(kind, events[middle:])
            return
        pairs = list(zip(events, statuses, strict=True))
        done = [event for event, result in pairs if result.status != "refused"]
        refused = [(event, result.reason or "no reason given") for event, result in pairs if result.status == "refused"]
        for result in statuses:
            OUTBOX_SHIPPED.labels(kind, result.status).inc()
        await self._settle(kind, done, refused)

    async def _settle(self, kind: str, done: Sequence[OutboxEvent], refused: Sequence[tuple[OutboxEvent, str]]) -> None:
        for event, reason in refused:
            log.error("data-api refused %s %s for good: %s. It is kept among the dead letters.", kind, event.id, reason)
        await self._outbox.settle(done, refused)
