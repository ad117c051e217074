"""The queue database: its connections, its tables, and procrastinate's app over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import LiteralString

import procrastinate
import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row

from ai_api.errors import QueueUnavailable

POOL_SIZE = 4
"""Most connections of one process, besides those of procrastinate's worker and of promotions."""
WAIT_SECONDS = 5.0
"""Longest wait for a connection that others use."""
QueueConnection = psycopg.AsyncConnection[DictRow]

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


def queue_app(conninfo: str) -> procrastinate.App:
    """procrastinate over this database, not opened yet."""
    return procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=conninfo, min_size=1, max_size=4))


class QueuePool:
    """At most `size` connections to the queue database, opened when they are needed and kept for the next transaction.

    psycopg_pool is not used: while Postgres is away its callers wait until their timeout instead of failing at once,
    and it connects again after a pause that grows.
    """

    def __init__(self, conninfo: str, size: int = POOL_SIZE) -> None:
        self._conninfo = conninfo
        self._places = asyncio.Semaphore(size)
        self._idle: list[QueueConnection] = []

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[QueueConnection]:
        """A connection in one transaction; QueueUnavailable when Postgres cannot be reached, or no connection becomes
        free in WAIT_SECONDS.
        """
        async with self._borrowed() as connection, connection.transaction():
            yield connection

    async def vacuum_jobs(self) -> None:
        """Removes the old versions of changed jobs, and makes the statistics about their values anew. QueueUnavailable
        as for `connected`.
        """
        async with self._borrowed() as connection:  # a vacuum runs outside of transactions
            await connection.execute("vacuum (analyze) training_jobs")

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[QueueConnection]:
        """A connection without a transaction, kept for the next use."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise QueueUnavailable from None
        try:
            connection = await self._checked() or await self._opened()
            try:
                yield connection
            except BaseException:
                if connection.info.transaction_status != TransactionStatus.IDLE:
                    await connection.close()  # a cancelled commit leaves its transaction open
                raise
            finally:
                if not connection.closed:
                    self._idle.append(connection)
        except psycopg.OperationalError as error:
            raise QueueUnavailable from error
        finally:
            self._places.release()

    async def close(self) -> None:
        """Closes the idle connections."""
        while self._idle:
            await self._idle.pop().close()

    async def _opened(self) -> QueueConnection:
        return await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True, row_factory=dict_row)

    async def _checked(self) -> QueueConnection | None:
        """An idle connection that still works; those that a restart of Postgres broke are closed."""
        while self._idle:
            connection = self._idle.pop()
            try:
                await connection.execute("")
            except psycopg.OperationalError:
                await connection.close()
            except BaseException:
                await connection.close()
                raise
            else:
                return connection
        return None


async def migrate(conninfo: str) -> None:
    """Creates procrastinate's tables and ours where they are missing. Safe to repeat and to run concurrently."""
    pool = QueuePool(conninfo, size=1)
    try:
        async with pool.connected() as connection:
            await connection.execute("select pg_advisory_xact_lock(hashtext('volant migrate'))")
            await connection.execute(TABLES)
            row = await (await connection.execute("select to_regclass('procrastinate_jobs') as name")).fetchone()
            if row is None or row["name"] is None:
                schema = procrastinate.schema.SchemaManager.get_schema()
                await connection.execute(schema.encode())
    finally:
        await pool.close()
