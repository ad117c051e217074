"""Training jobs as serving sees them: request one, read it, follow its events, cancel it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager

from .followers import JobFollowers
from .job import Job, JobEvent, Status
from .store import JobStore


class Jobs:
    """Opens nothing before the first call, so ai-api starts while Postgres is away."""

    def __init__(self, conninfo: str) -> None:
        self._store = JobStore(conninfo)
        self._followers = JobFollowers(self._store)

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

    async def clear_actor(self, user_id: str) -> int:
        """Clears the user id of an erased person in their jobs; how many."""
        return await self._store.clear_actor(user_id)

    def follow(self, job_id: int, after: int = 0) -> AsyncIterator[Sequence[JobEvent]]:
        """The events of a job with an id above `after`, as they happen, until the job has ended; see JobFollowers."""
        return self._followers.follow(job_id, after)

    def stream(self, caller: str) -> AbstractContextManager[None]:
        """A place for one open stream of this caller; LimitReached when there is none."""
        return self._followers.stream(caller)

    def end_streams(self) -> None:
        """Ends all streams, so that the process can stop."""
        self._followers.end()

    async def aclose(self) -> None:
        """Ends all streams and closes the connections."""
        self.end_streams()
        await self._store.aclose()
