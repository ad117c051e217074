"""The queue database: a connection for one transaction, its tables, and procrastinate's app over it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import LiteralString

import procrastinate
import psycopg
from psycopg.rows import DictRow, dict_row

from ai_api.errors import QueueUnavailable

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


@asynccontextmanager
async def connected(conninfo: str) -> AsyncIterator[QueueConnection]:
    """A new connection in one transaction; QueueUnavailable when Postgres cannot be reached.

    There is no pool: jobs are rare, and no broken connection remains after Postgres restarts.
    """
    try:
        connection = await psycopg.AsyncConnection.connect(conninfo, row_factory=dict_row)
        try:
            async with connection:
                yield connection
        finally:
            await connection.close()  # psycopg leaves it open when the commit is cancelled
    except psycopg.OperationalError as error:
        raise QueueUnavailable from error


async def vacuum(conninfo: str) -> None:
    """Removes the old versions of changed jobs, and makes the statistics about their values anew."""
    try:
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
            await connection.execute("vacuum (analyze) training_jobs")
    except psycopg.OperationalError as error:
        raise QueueUnavailable from error


async def migrate(conninfo: str) -> None:
    """Creates procrastinate's tables and ours where they are missing. Safe to repeat and to run concurrently."""
    async with connected(conninfo) as connection:
        await connection.execute("select pg_advisory_xact_lock(hashtext('volant migrate'))")
        await connection.execute(TABLES)
        row = await (await connection.execute("select to_regclass('procrastinate_jobs') as name")).fetchone()
        if row is None or row["name"] is None:
            schema = procrastinate.schema.SchemaManager.get_schema()
            await connection.execute(schema.encode())
