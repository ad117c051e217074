"""Erase what this process holds of a person: rows in the outbox, dead letters, images, and their id in training jobs.
Then report to data-api.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

from ai_api.data_client import DataClient
from ai_api.errors import BlobsUnavailable, DataUnavailable, NotSignedIn, QueueUnavailable
from ai_api.images.blobs import Blobs
from ai_api.metrics import ERASURES
from ai_api.outbox.outbox import Outbox

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
LEAVE_SECONDS = 1.0
"""Longest wait for data-api at the end of the service."""
PAUSE_SECONDS = 5.0
"""Before the next attempt, after the image store, the queue or data-api did not respond."""


class Eraser:
    """Runs for as long as the service does. `requested` returns the erasure id of each person to erase, by user id;
    `clear_jobs` clears a user id in the training jobs and returns how many held it.

    A person is erased only while no request of theirs is in flight: what such a request stores would come after.
    """

    def __init__(
        self,
        outbox: Outbox,
        blobs: Blobs,
        client: DataClient,
        requested: Callable[[], Mapping[str, str]],
        clear_jobs: Callable[[str], Awaitable[int]],
    ) -> None:
        self._outbox = outbox
        self._blobs = blobs
        self._client = client
        self._requested = requested
        self._clear_jobs = clear_jobs
        self._in_flight: Counter[str] = Counter()
        self._done: set[str] = set()
        self._removed: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._searched = 0
        """How many of the outbox files taken over were searched."""
        self._released = 0
        """How many of their instances data-api no longer waits for."""

    @contextmanager
    def storing_for(self, user_id: str) -> Iterator[None]:
        """Around everything that stores something of this person; NotSignedIn when they are to be erased."""
        if user_id in self._requested():
            raise NotSignedIn
        self._in_flight[user_id] += 1
        try:
            yield
        finally:
            self._in_flight[user_id] -= 1
            if not self._in_flight[user_id]:
                del self._in_flight[user_id]

    async def run(self) -> None:
        """Erases until cancelled."""
        while True:
            all_done = await self.erase()
            await asyncio.sleep(LOOK_SECONDS if all_done else PAUSE_SECONDS)

    async def erase(self) -> bool:
        """Carries out the erasures that are not done yet. False when the image store, the queue or data-api
        did not respond.
        """
        if self._searched < len(self._outbox.taken_over):
            self._searched = len(self._outbox.taken_over)
            self._done.clear()  # a file of another process may hold rows of any person
        for user_id, erasure in self._requested().items():
            if erasure in self._done or self._in_flight[user_id]:
                continue
            try:
                await self._erase(user_id, erasure)
            except (BlobsUnavailable, DataUnavailable, QueueUnavailable) as error:
                log.warning("erasure %s is not done yet: %s", erasure, error)
                return False
            self._done.add(erasure)
        return await self._release_dead_instances()

    async def leave(self) -> None:
        """Tells data-api, at the end of the service, that no erasure has to wait for this instance, if it holds no row
        and every erasure that it knows of is done.
        """
        if len(self._outbox) or self._outbox.dead_letters or not self._done.issuperset(self._requested().values()):
            return
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._client.release_instance(self._outbox.name)
        except (DataUnavailable, TimeoutError):
            log.info("data-api could not be told that this instance ends")

    async def _release_dead_instances(self) -> bool:
        """Once the files taken over were searched: tells data-api not to wait for reports of their instances."""
        while self._released < self._searched:
            try:
                await self._client.release_instance(self._outbox.taken_over[self._released])
            except DataUnavailable as error:
                log.warning("data-api still waits for an instance that ended: %s", error)
                return False
            self._released += 1
        return True

    async def _erase(self, user_id: str, erasure: str) -> None:
        removed = self._removed[erasure]  # counts of earlier attempts that failed midway are kept
        removed.update(await self._outbox.erase(user_id))
        removed.update(pictures=await asyncio.to_thread(self._blobs.erase, user_id))
        removed.update(training_jobs=await self._clear_jobs(user_id))
        await self._client.report_erasure(erasure, self._outbox.name, removed)
        ERASURES.inc()
        counts = " ".join(f"{kind}={number}" for kind, number in removed.items())
        log.info("nothing of an erased person is left here erasure=%s %s", erasure, counts)
        del self._removed[erasure]
