"""What this process holds of people who are erased goes: rows that wait, dead letters, pictures. data-api is told."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from ai_api.blobs import Blobs
from ai_api.data_client import DataClient
from ai_api.errors import BlobsUnavailable, DataUnavailable, NotSignedIn
from ai_api.metrics import ERASURES
from ai_api.outbox.outbox import Outbox

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
PAUSE_SECONDS = 5.0
"""Before another attempt, after the store of pictures or data-api did not answer."""


class Eraser:
    """Runs for as long as the service does. `asked` gives the people whom data-api named last, each with an erasure.

    A person is erased when nobody is answering them any more: what a request in flight keeps would come after.
    """

    def __init__(
        self, outbox: Outbox, blobs: Blobs, client: DataClient, asked: Callable[[], Mapping[str, str]]
    ) -> None:
        self._outbox = outbox
        self._blobs = blobs
        self._client = client
        self._asked = asked
        self._answering: Counter[str] = Counter()
        self._done: set[str] = set()
        self._removed: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._searched = 0  # of the files taken over
        self._told = 0

    @contextmanager
    def answering(self, user_id: str) -> Iterator[None]:
        """Around everything that keeps something of this person; NotSignedIn when they are erased."""
        if user_id in self._asked():
            raise NotSignedIn
        self._answering[user_id] += 1
        try:
            yield
        finally:
            self._answering[user_id] -= 1
            if not self._answering[user_id]:
                del self._answering[user_id]

    async def run(self) -> None:
        """Erases whoever is named, until cancelled."""
        while True:
            all_done = await self.erase()
            await asyncio.sleep(LOOK_SECONDS if all_done else PAUSE_SECONDS)

    async def erase(self) -> bool:
        """Erases those that were not yet, as far as it can be done now. False: something did not answer."""
        if self._searched < len(self._outbox.taken_over):
            self._searched = len(self._outbox.taken_over)
            self._done.clear()  # a file of another process may hold rows of anybody
        for user_id, erasure in self._asked().items():
            if erasure in self._done or self._answering[user_id]:
                continue
            try:
                await self._erase(user_id, erasure)
            except (BlobsUnavailable, DataUnavailable) as error:
                log.warning("erasure %s is not done yet: %s", erasure, error)
                return False
            self._done.add(erasure)
        return await self._speak_for_the_dead()

    async def _speak_for_the_dead(self) -> bool:
        """Tells data-api to await no word of processes whose files are here, once those were searched."""
        while self._told < self._searched:
            try:
                await self._client.forget_replica(self._outbox.taken_over[self._told])
            except DataUnavailable as error:
                log.warning("data-api still awaits a process that ended: %s", error)
                return False
            self._told += 1
        return True

    async def _erase(self, user_id: str, erasure: str) -> None:
        removed = self._removed[erasure]  # what an attempt that failed removed counts as well
        removed.update(await self._outbox.forget(user_id))
        removed.update(pictures=await asyncio.to_thread(self._blobs.forget, user_id))
        await self._client.report_erasure(erasure, self._outbox.name, removed)
        ERASURES.inc()
        told = " ".join(f"{kind}={number}" for kind, number in removed.items())
        log.info("nothing of an erased person is left here erasure=%s %s", erasure, told)
        del self._removed[erasure]
