"""Training jobs as serving sees them: request one, read it, follow its events, cancel it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

from ai_api.errors import QueueUnavailable

from .job import Job, JobEvent, Status
from .store import JobStore

POLL_SECONDS = 0.5


class Jobs:
    """Opens nothing before the first call, so ai-api starts while Postgres is away."""

    def __init__(self, conninfo: str) -> None:
        self._store = JobStore(conninfo)

    async def retrain(self, task: str, recipe: str, params: Mapping[str, object], actor: str | None) -> Job:
        """A new waiting job; JobRunning, with its id, when one of this task waits or runs already."""
        while (job := await self._store.add(task, recipe, params, actor)) is None:
            pass
        return job

    async def get(self, job_id: int) -> Job:
        """The job, or UnknownJob."""
        return await self._store.get(job_id)

    async def list(
        self, task: str | None = None, status: Status | None = None, limit: int = 50, before: int | None = None
    ) -> list[Job]:
        """Newest first, those with an id below `before`."""
        return await self._store.list(task, status, limit, before)

    async def cancel(self, job_id: int) -> Job:
        """A waiting job ends at once; a running one within seconds; an ended one stays as it is."""
        return await self._store.cancel(job_id)

    async def events(self, job_id: int, after: int = 0) -> AsyncIterator[JobEvent]:
        """The events of a job with an id above `after`, as they happen, until the job ends."""
        await self._store.get(job_id)
        while True:
            with suppress(QueueUnavailable):  # the stream continues after a restart of Postgres
                for event in await self._store.events(job_id, after):
                    yield event
                    if event.kind == "end":
                        return
                    after = event.id
            await asyncio.sleep(POLL_SECONDS)
