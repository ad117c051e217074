"""Training jobs: ask for one, look at it, follow it, stop it. With worker.py, the only door to the queue database.

Our own table is the truth about a job; a procrastinate job only carries its id to a trainer and wakes it. Every change
of hands raises `attempts`, and a trainer writes only while `attempts` is still its own: one that comes back after a
long silence finds its job gone and stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal, LiteralString

import procrastinate
import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from ai_api.errors import JobRunning, QueueUnavailable, UnknownJob

Status = Literal["waiting", "running", "succeeded", "failed", "cancelled"]
Connection = psycopg.AsyncConnection[DictRow]

QUEUE = "training"
TASK = "train"
POLL_SECONDS = 0.5
LOCK_SECONDS = 30

TABLES: LiteralString = """
create table if not exists training_jobs (
    id bigint generated always as identity primary key,
    task text not null, recipe text not null, params jsonb not null, actor text,
    status text not null default 'waiting' check (status in ('waiting', 'running', 'succeeded', 'failed', 'cancelled')),
    attempts int not null default 0,
    cancelling boolean not null default false,
    created_at timestamptz not null default now(), started_at timestamptz, finished_at timestamptz,
    heartbeat_at timestamptz not null default now(),
    queue_id bigint,
    progress jsonb, result jsonb, error text
);
create unique index if not exists training_jobs_one_per_task on training_jobs (task)
    where status in ('waiting', 'running');
create table if not exists training_events (
    id bigint generated always as identity primary key,
    job_id bigint not null references training_jobs on delete cascade,
    at timestamptz not null default now(), kind text not null, data jsonb not null
);
create index if not exists training_events_job on training_events (job_id, id);
"""


@dataclass(frozen=True)
class Job:
    """A training that somebody asked for. `result` says which version came of it, whether it serves, and why."""

    id: int
    task: str
    recipe: str
    params: dict[str, object]
    status: Status
    attempts: int
    actor: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    progress: dict[str, object] | None
    result: dict[str, object] | None
    error: str | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Job:
        """The job in a row of training_jobs."""
        return cls(**{field.name: row[field.name] for field in fields(cls)})


RUNNING: LiteralString = "select id from training_jobs where task = %s and status in ('waiting', 'running')"
NEW: LiteralString = (
    "insert into training_jobs (task, recipe, params, actor) values (%s, %s, %s, %s)"
    " on conflict (task) where status in ('waiting', 'running') do nothing returning id"
)


@dataclass(frozen=True)
class JobEvent:
    """Something that happened to a job. The last one is an "end" that carries the status."""

    id: int
    at: datetime
    kind: str
    data: dict[str, object]


def queue_app(conninfo: str) -> procrastinate.App:
    """procrastinate over this database, not opened yet. A worker adds the task TASK to it."""
    return procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=conninfo, min_size=1, max_size=4))


@asynccontextmanager
async def connected(conninfo: str) -> AsyncIterator[Connection]:
    """A connection of its own, in one transaction: jobs are rare, and nothing is left over when Postgres restarts."""
    try:
        connection = await psycopg.AsyncConnection.connect(conninfo, row_factory=dict_row)
        try:
            async with connection:
                yield connection
        finally:
            await connection.close()  # psycopg leaves it open when the commit is cancelled
    except psycopg.OperationalError as error:
        raise QueueUnavailable from error


async def migrate(conninfo: str) -> None:
    """procrastinate's tables and ours, as often as one likes, by any number of processes at once."""
    async with connected(conninfo) as connection:
        await connection.execute("select pg_advisory_xact_lock(hashtext('volant migrate'))")
        await connection.execute(TABLES)
        found = await (await connection.execute("select to_regclass('procrastinate_jobs') as there")).fetchone()
        if found is None or found["there"] is None:
            schema = procrastinate.schema.SchemaManager.get_schema()
            await connection.execute(schema.encode())


async def defer(app: procrastinate.App, connection: Connection, job_id: int) -> None:
    """Hands the job to whichever trainer is free, if this transaction commits."""
    deferred = await app.configure_task(TASK, queue=QUEUE, allow_unknown=True, connection=connection).defer_async(
        job_id=job_id
    )
    await connection.execute(
        "update training_jobs set queue_id = %s, heartbeat_at = now() where id = %s", (deferred, job_id)
    )


async def record(connection: Connection, job_id: int, kind: str, data: Mapping[str, object]) -> None:
    """One more event of the job."""
    await connection.execute(
        "insert into training_events (job_id, kind, data) values (%s, %s, %s)", (job_id, kind, Jsonb(dict(data)))
    )


class Jobs:
    """The queue as serving sees it. Nothing is opened before it is needed, so ai-api starts while Postgres is away."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._app = queue_app(conninfo)

    async def retrain(self, task: str, recipe: str, params: Mapping[str, object], actor: str | None) -> Job:
        """A new waiting job; JobRunning, with its id, when one of this task waits or runs already."""
        async with connected(self._conninfo) as connection:
            # Looked at first, so that refused callers use up no numbers; the partial unique index decides between two
            # callers at the same moment.
            running = await self._one(connection, RUNNING, (task,))
            made = None if running else await self._one(connection, NEW, (task, recipe, Jsonb(dict(params)), actor))
            if made:
                await defer(self._app, connection, made["id"])
                return await self._get(connection, made["id"])
            running = running or await self._one(connection, RUNNING, (task,))
        if running is None:  # it ended in between
            return await self.retrain(task, recipe, params, actor)
        raise JobRunning(running["id"])

    async def get(self, id: int) -> Job:  # noqa: A002
        async with connected(self._conninfo) as connection:
            return await self._get(connection, id)

    async def list(self, task: str | None = None, limit: int = 50, before: int | None = None) -> list[Job]:
        """Newest first."""
        async with connected(self._conninfo) as connection:
            rows = await connection.execute(
                "select * from training_jobs where (%(task)s::text is null or task = %(task)s)"
                " and (%(before)s::bigint is null or id < %(before)s) order by id desc limit %(limit)s",
                {"task": task, "before": before, "limit": limit},
            )
            return [Job.of(row) for row in await rows.fetchall()]

    async def cancel(self, id: int) -> Job:  # noqa: A002
        """A waiting job ends now; a running one is told to, and ends within seconds; an ended one stays as it is."""
        async with connected(self._conninfo) as connection:
            await self._get(connection, id)
            ended = await self._one(
                connection,
                "update training_jobs set status = 'cancelled', finished_at = now()"
                " where id = %s and status = 'waiting' returning id",
                (id,),
            )
            if ended:
                await record(connection, id, "end", {"status": "cancelled"})
            await connection.execute(
                "update training_jobs set cancelling = true where id = %s and status = 'running'", (id,)
            )
            return await self._get(connection, id)

    async def events(self, id: int, after: int = 0) -> AsyncIterator[JobEvent]:  # noqa: A002
        """What happened after event `after`, as it happens, until the job's end."""
        await self.get(id)
        while True:
            with suppress(QueueUnavailable):  # a listener outlives a restart of Postgres
                for event in await self._events(id, after):
                    yield event
                    if event.kind == "end":
                        return
                    after = event.id
            await asyncio.sleep(POLL_SECONDS)

    async def _events(self, id: int, after: int) -> Sequence[JobEvent]:  # noqa: A002
        async with connected(self._conninfo) as connection:
            rows = await connection.execute(
                "select id, at, kind, data from training_events where job_id = %s and id > %s order by id", (id, after)
            )
            return [JobEvent(**row) for row in await rows.fetchall()]

    @asynccontextmanager
    async def promotion_lock(self, task: str) -> AsyncIterator[None]:
        """Alone among all processes to move this task's champion."""
        async with connected(self._conninfo) as connection:
            try:
                await connection.execute(f"set local lock_timeout = '{LOCK_SECONDS}s'")
                await connection.execute(
                    "select pg_advisory_xact_lock(hashtext('volant promote'), hashtext(%s))", (task,)
                )
            except psycopg.errors.LockNotAvailable as error:
                raise QueueUnavailable(
                    "Another promotion of this task has not ended. Try again in a moment."
                ) from error
            yield

    async def _get(self, connection: Connection, id: int) -> Job:  # noqa: A002
        row = await self._one(connection, "select * from training_jobs where id = %s", (id,))
        if row is None:
            raise UnknownJob(f"There is no job {id}.")
        return Job.of(row)

    @staticmethod
    async def _one(connection: Connection, query: LiteralString, values: tuple[object, ...]) -> DictRow | None:
        return await (await connection.execute(query, values)).fetchone()


@contextmanager
def promotion_lock(conninfo: str, task: str) -> Iterator[None]:
    """The same lock for a process that is not async: a training, the command line."""
    try:
        with psycopg.connect(conninfo) as connection:
            connection.execute(f"set local lock_timeout = '{LOCK_SECONDS}s'")
            connection.execute("select pg_advisory_xact_lock(hashtext('volant promote'), hashtext(%s))", (task,))
            yield
    except psycopg.OperationalError as error:
        raise QueueUnavailable from error
