"""Every statement on training_jobs and training_events.

Our own table is the only record of a job; a procrastinate job carries its id to a trainer and wakes that trainer up.
Each time a trainer takes a job, `attempts` rises by one, and a trainer's writes apply only while `attempts` is still
the number of its own attempt. So a trainer that comes back after a long pause finds that it lost its job (JobLost).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import LiteralString

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from ai_api.errors import JobRunning, UnknownJob

from .database import QueueConnection, QueuePool, queue_app
from .job import Job, JobEvent, JobLost, Status

QUEUE = "training"
TASK = "train"
"""Names of procrastinate's queue and task."""

RUNNING: LiteralString = "select id from training_jobs where task = %s and status in ('waiting', 'running')"
INSERT: LiteralString = (
    "insert into training_jobs (task, recipe, params, actor) values (%s, %s, %s, %s)"
    " on conflict (task) where status in ('waiting', 'running') do nothing returning id"
)
OWN: LiteralString = " where id = %s and attempts = %s and status = 'running' returning *"
"""Ends every statement of a trainer on its own attempt; its values are (id, attempts)."""


class JobStore:
    """The jobs of one queue database. Every method is one transaction; QueueUnavailable when Postgres is away."""

    def __init__(self, conninfo: str) -> None:
        self._pool = QueuePool(conninfo)
        self._app = queue_app(conninfo)

    async def aclose(self) -> None:
        """Closes the connections that no statement uses."""
        await self._pool.close()

    async def add(self, task: str, recipe: str, params: Mapping[str, object], actor: str | None) -> Job | None:
        """A new waiting job; JobRunning, with its id, when one of this task waits or runs already.

        None when that one ended during this call: then try again.
        """
        async with self._pool.connected() as connection:
            # Read first, so that refused calls use up no ids. Between concurrent calls the unique index decides.
            running = await _one(connection, RUNNING, (task,))
            if running is None:
                added = await _one(connection, INSERT, (task, recipe, Jsonb(dict(params)), actor))
                if added:
                    await self._defer(connection, added["id"])
                    return await _get(connection, added["id"])
                running = await _one(connection, RUNNING, (task,))
        if running:
            raise JobRunning(running["id"])
        return None

    async def get(self, job_id: int) -> Job:
        """The job, or UnknownJob."""
        async with self._pool.connected() as connection:
            return await _get(connection, job_id)

    async def list(self, task: str | None, status: Status | None, limit: int, before: int | None) -> list[Job]:
        """Newest first, those with an id below `before`."""
        async with self._pool.connected() as connection:
            rows = await connection.execute(
                "select * from training_jobs where (%(task)s::text is null or task = %(task)s)"
                " and (%(status)s::text is null or status = %(status)s)"
                " and (%(before)s::bigint is null or id < %(before)s) order by id desc limit %(limit)s",
                {"task": task, "status": status, "before": before, "limit": limit},
            )
            return [Job.of(row) for row in await rows.fetchall()]

    async def events(self, job_id: int, after: int) -> Sequence[JobEvent]:
        """The events of a job with an id above `after`, oldest first."""
        async with self._pool.connected() as connection:
            rows = await connection.execute(
                "select id, at, kind, data from training_events where job_id = %s and id > %s order by id",
                (job_id, after),
            )
            return [JobEvent(**row) for row in await rows.fetchall()]

    async def cancel(self, job_id: int) -> Job:
        """A waiting job ends at once; a running one is marked for its trainer; an ended one stays as it is."""
        async with self._pool.connected() as connection:
            await _get(connection, job_id)
            ended = await _one(
                connection,
                "update training_jobs set status = 'cancelled', finished_at = now()"
                " where id = %s and status = 'waiting' returning id",
                (job_id,),
            )
            if ended:
                await _add_event(connection, job_id, "end", {"status": "cancelled"})
            await connection.execute(
                "update training_jobs set cancelling = true where id = %s and status = 'running'", (job_id,)
            )
            return await _get(connection, job_id)

    async def clear_actor(self, user_id: str) -> int:
        """Clears the user id of an erased person in their jobs, and in what Postgres keeps of the values of the table;
        how many.
        """
        async with self._pool.connected() as connection:
            if await _one(connection, "select to_regclass('training_jobs') as name where to_regclass('training_jobs')"
                          " is not null", ()) is None:  # fmt: skip
                return 0  # no trainer has run yet
            cleared = await connection.execute("update training_jobs set actor = null where actor = %s", (user_id,))
        if cleared.rowcount:
            await self._pool.vacuum_jobs()
        return cleared.rowcount

    async def take(self, job_id: int) -> Job | None:
        """Starts an attempt of a waiting job; None when it does not wait any more."""
        async with self._pool.connected() as connection:
            row = await _one(
                connection,
                "update training_jobs set status = 'running', attempts = attempts + 1, heartbeat_at = now(),"
                " started_at = coalesce(started_at, now()) where id = %s and status = 'waiting' returning *",
                (job_id,),
            )
            return Job.of(row) if row else None

    async def beat(self, job: Job) -> bool:
        """Records that the trainer works on the job. Returns whether the job is to be cancelled."""
        async with self._pool.connected() as connection:
            row = await _own(connection, job, "update training_jobs set heartbeat_at = now()")
            return bool(row["cancelling"])

    async def report(self, job: Job, kind: str, data: Mapping[str, object]) -> None:
        """Records an event of the attempt; one of kind "progress" also becomes the job's progress."""
        async with self._pool.connected() as connection:
            if kind == "progress":
                update: LiteralString = "update training_jobs set heartbeat_at = now(), progress = %s"
                await _own(connection, job, update, Jsonb(dict(data)))
            else:
                await _own(connection, job, "update training_jobs set heartbeat_at = now()")
            await _add_event(connection, job.id, kind, data)

    async def retry(self, job: Job, reason: str) -> None:
        """Ends an attempt that failed, with an "error" event: the job waits, and its trainer takes it again."""
        async with self._pool.connected() as connection:
            await _own(connection, job, "update training_jobs set heartbeat_at = now(), status = 'waiting'")
            await _add_event(connection, job.id, "error", {"detail": reason})

    async def end(
        self, job: Job, status: Status, *, result: Mapping[str, object] | None = None, error: str | None = None
    ) -> None:
        """Ends the job, with an event for its result or error and one of kind "end"."""
        async with self._pool.connected() as connection:
            await _own(
                connection,
                job,
                "update training_jobs set status = %s, result = %s, error = %s, finished_at = now()",
                status,
                None if result is None else Jsonb(dict(result)),
                error,
            )
            if result is not None:
                await _add_event(connection, job.id, "result", result)
            await _add_end(connection, job, status, error)

    async def give_back(self, job: Job) -> None:
        """The job waits for another trainer, and this attempt does not count. JobLost when it is not ours any more."""
        async with self._pool.connected() as connection:
            await _own(connection, job, "update training_jobs set status = 'waiting', attempts = attempts - 1")
            await self._defer(connection, job.id)

    async def release_stalled(self, seconds: float, attempts: int) -> Sequence[tuple[Job, Status]]:
        """Every job without a heartbeat for `seconds`, and every waiting one that no procrastinate job stands for.

        Returns each as it was and its new status: "waiting" for another trainer, or ended because it was to be
        cancelled or has no attempt left. After a start of Postgres, which interrupts heartbeats, `seconds` pass first.
        """
        async with self._pool.connected() as connection:
            rows = await connection.execute(
                "select * from training_jobs j where heartbeat_at < now() - make_interval(secs => %(s)s)"
                " and pg_postmaster_start_time() < now() - make_interval(secs => %(s)s)"
                " and (status = 'running' or (status = 'waiting' and not exists"
                " (select from procrastinate_jobs p where p.id = j.queue_id and p.status = 'todo')))"
                " for update skip locked",
                {"s": seconds},
            )
            stalled = await rows.fetchall()
            return [(Job.of(row), await self._release(connection, row, attempts)) for row in stalled]

    async def _release(self, connection: QueueConnection, row: DictRow, attempts: int) -> Status:
        job, was_running, cancelling = Job.of(row), row["status"] == "running", bool(row["cancelling"])
        if was_running and (cancelling or job.attempts >= attempts):
            status: Status = "cancelled" if cancelling else "failed"
            error = None if cancelling else f"Its trainer sent no heartbeat in each of {attempts} attempts."
            await connection.execute(
                "update training_jobs set status = %s, error = %s, finished_at = now() where id = %s",
                (status, error, job.id),
            )
            await _add_end(connection, job, status, error)
            return status
        await connection.execute("update training_jobs set status = 'waiting' where id = %s", (job.id,))
        if was_running:
            await _add_event(
                connection, job.id, "error", {"detail": "Its trainer sent no heartbeat; another takes the job."}
            )
        await self._defer(connection, job.id)
        return "waiting"

    async def _defer(self, connection: QueueConnection, job_id: int) -> None:
        """Queues the job for a free trainer, if this transaction commits."""
        task = self._app.configure_task(TASK, queue=QUEUE, allow_unknown=True, connection=connection)
        queue_id = await task.defer_async(job_id=job_id)
        await connection.execute(
            "update training_jobs set queue_id = %s, heartbeat_at = now() where id = %s", (queue_id, job_id)
        )


async def _one(connection: QueueConnection, statement: LiteralString, values: tuple[object, ...]) -> DictRow | None:
    return await (await connection.execute(statement, values)).fetchone()


async def _get(connection: QueueConnection, job_id: int) -> Job:
    row = await _one(connection, "select * from training_jobs where id = %s", (job_id,))
    if row is None:
        raise UnknownJob(f"There is no job {job_id}.")
    return Job.of(row)


async def _own(connection: QueueConnection, job: Job, update: LiteralString, *values: object) -> DictRow:
    """Updates the job if it still belongs to this attempt; JobLost otherwise."""
    row = await _one(connection, update + OWN, (*values, job.id, job.attempts))
    if row is None:
        raise JobLost
    return row


async def _add_event(connection: QueueConnection, job_id: int, kind: str, data: Mapping[str, object]) -> None:
    await connection.execute(
        "insert into training_events (job_id, kind, data) values (%s, %s, %s)", (job_id, kind, Jsonb(dict(data)))
    )


async def _add_end(connection: QueueConnection, job: Job, status: Status, error: str | None) -> None:
    if error is not None:
        await _add_event(connection, job.id, "error", {"detail": error})
    await _add_event(connection, job.id, "end", {"status": status})
