"""The connections to the queue: bounded, kept for the next transaction, and replaced after a restart of Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from ai_api.errors import QueueUnavailable
from ai_api.jobs import database
from ai_api.jobs.database import QueuePool

pytestmark = pytest.mark.anyio

PID = "select pg_backend_pid() as pid"


@pytest.fixture
async def pool(conninfo: str) -> AsyncIterator[QueuePool]:
    opened = QueuePool(conninfo, size=2)
    yield opened
    await opened.close()


async def pid(pool: QueuePool) -> int:
    async with pool.connected() as connection:
        row = await (await connection.execute(PID)).fetchone()
    assert row is not None
    return int(row["pid"])


async def test_transactions_one_after_the_other_use_one_connection(pool: QueuePool) -> None:
    assert len({await pid(pool) for _ in range(5)}) == 1


async def test_fifty_transactions_at_once_use_two_connections(pool: QueuePool) -> None:
    assert len(set(await asyncio.gather(*(pid(pool) for _ in range(50))))) <= 2


async def test_a_connection_that_postgres_has_ended_is_replaced(pool: QueuePool, conninfo: str) -> None:
    before = await pid(pool)
    async with await psycopg.AsyncConnection.connect(conninfo) as other:
        await other.execute("select pg_terminate_backend(%s)", (before,))
    assert await pid(pool) != before


async def test_a_failed_transaction_is_rolled_back_and_its_connection_kept(pool: QueuePool) -> None:
    before = await pid(pool)

    async def fail() -> None:
        async with pool.connected() as connection:
            await connection.execute("create table never_made (x int)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with pool.connected() as connection:
        row = await (
            await connection.execute("select to_regclass('never_made') as name, pg_backend_pid() as pid")
        ).fetchone()
    assert row == {"name": None, "pid": before}


async def test_whoever_gets_no_connection_in_time_is_told_that_the_queue_is_unavailable(
    pool: QueuePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "WAIT_SECONDS", 0.01)
    async with pool.connected(), pool.connected():
        with pytest.raises(QueueUnavailable):
            await pid(pool)
    assert await pid(pool)
