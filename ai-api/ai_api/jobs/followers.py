"""Follow the events of jobs. All followers of a job in this process share one poll of the database."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress

from ai_api.errors import LimitReached, QueueUnavailable

from .job import JobEvent
from .store import JobStore

POLL_SECONDS = 0.5
KEEP_ALIVE_SECONDS = 15.0
"""Longest that a stream sends nothing. Proxies close silent connections, often after a minute."""
STREAMS_PER_CALLER = 10
STREAMS = 200
"""Most open streams of one caller and of all."""
RETRY_SECONDS = 5


class JobFeed:
    """The events of one job so far, and whether there will be more."""

    def __init__(self) -> None:
        self.events: list[JobEvent] = []
        self.has_ended = False
        self.followers = 0
        self.poll: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Wakes every follower that waits."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def change(self, seconds: float) -> None:
        """Returns at the next change, after `seconds` at the latest."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()


class JobFollowers:
    """Opens nothing before the first follower. A job without followers is not polled."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._feeds: dict[int, JobFeed] = {}
        self._streams: Counter[str] = Counter()
        self._is_ending = False

    @contextmanager
    def stream(self, caller: str) -> Iterator[None]:
        """A place for one open stream of this caller; LimitReached when there is none."""
        if self._streams[caller] >= STREAMS_PER_CALLER:
            raise LimitReached(
                f"You follow {STREAMS_PER_CALLER} jobs already. End one of these streams, or read GET /jobs.",
                retry_seconds=RETRY_SECONDS,
            )
        if self._streams.total() >= STREAMS:
            raise LimitReached(
                f"{STREAMS} streams are open already. Read GET /jobs instead, or try again later.",
                retry_seconds=RETRY_SECONDS,
            )
        self._streams[caller] += 1
        try:
            yield
        finally:
            self._streams[caller] -= 1
            if not self._streams[caller]:
                del self._streams[caller]

    async def follow(self, job_id: int, after: int) -> AsyncIterator[Sequence[JobEvent]]:
        """New events of the job with an id above `after`; an empty sequence when none came for KEEP_ALIVE_SECONDS.

        Ends once the job has ended and all its events were returned, also when `after` is the last one or above. Goes
        on after a restart of Postgres. UnknownJob, QueueUnavailable before the first events.
        """
        await self._store.get(job_id)
        feed = self._joined(job_id)
        try:
            place = 0
            while not self._is_ending:
                place = max(place, bisect_right(feed.events, after, key=lambda event: event.id))
                if new := feed.events[place:]:
                    place += len(new)
                    yield new
                elif feed.has_ended:
                    return
                else:
                    await feed.change(KEEP_ALIVE_SECONDS)
                    if len(feed.events) == place and not feed.has_ended and not self._is_ending:
                        yield ()
        finally:
            self._leave(job_id, feed)

    def end(self) -> None:
        """Ends all streams."""
        self._is_ending = True
        for feed in self._feeds.values():
            feed.notify()

    def _joined(self, job_id: int) -> JobFeed:
        feed = self._feeds.get(job_id)
        if feed is None:
            feed = self._feeds[job_id] = JobFeed()
            feed.poll = asyncio.create_task(self._poll(job_id, feed))
        feed.followers += 1
        return feed

    def _leave(self, job_id: int, feed: JobFeed) -> None:
        feed.followers -= 1
        if not feed.followers:
            del self._feeds[job_id]
            if feed.poll is not None:
                feed.poll.cancel()

    async def _poll(self, job_id: int, feed: JobFeed) -> None:
        """Reads the job's events until it has ended; first its status, which changes with the last event."""
        try:
            is_running = True
            while is_running:
                with suppress(QueueUnavailable):
                    is_running = (await self._store.get(job_id)).finished_at is None
                    last = feed.events[-1].id if feed.events else 0
                    if new := await self._store.events(job_id, last):
                        feed.events += new
                        feed.notify()
                if is_running:
                    await asyncio.sleep(POLL_SECONDS)
        finally:
            feed.has_ended = True
            feed.notify()
