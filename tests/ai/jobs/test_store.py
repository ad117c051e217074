"""The statements on jobs: who may write to an attempt, and what is released when a trainer falls silent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta

import psycopg
import pytest

from ai_api.errors import UnknownJob
from ai_api.jobs.job import Job, JobLost
from ai_api.jobs.store import JobStore

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(conninfo: str) -> AsyncIterator[JobStore]:
    async with aclosing(JobStore(conninfo)) as opened:
        yield opened


async def added(store: JobStore, task: str = "tweets") -> Job:
    job = await store.add(task, "logreg", {}, None)
    assert job is not None
    return job


async def taken(store: JobStore, task: str = "tweets") -> Job:
    job = await store.take((await added(store, task)).id)
    assert job is not None
    return job


async def kinds(store: JobStore, job: Job) -> list[str]:
    return [event.kind for event in await store.events(job.id, 0)]


def age(conninfo: str, job: Job, by: timedelta) -> None:
    """Moves the job's last heartbeat back."""
    with psycopg.connect(conninfo) as connection:
        connection.execute("update training_jobs set heartbeat_at = heartbeat_at - %s where id = %s", (by, job.id))


def queued(conninfo: str) -> int:
    """How many procrastinate jobs wait for a trainer."""
    with psycopg.connect(conninfo) as connection:
        row = connection.execute("select count(*) from procrastinate_jobs where status = 'todo'").fetchone()
    assert row is not None
    return int(row[0])


async def test_a_job_is_taken_once(store: JobStore) -> None:
    job = await added(store)
    first = await store.take(job.id)
    assert first is not None
    assert (first.status, first.attempts) == ("running", 1)
    assert await store.take(job.id) is None


async def test_only_the_current_attempt_may_write(store: JobStore) -> None:
    first = await taken(store)
    await store.retry(first, "out of memory")
    second = await store.take(first.id)
    assert second is not None
    assert second.attempts == 2
    assert second.started_at == first.started_at
    for write in (
        store.beat(first),
        store.report(first, "progress", {"step": 9}),
        store.report(first, "metric", {"value": 9}),
        store.retry(first, "late"),
        store.give_back(first),
        store.end(first, "succeeded", result={"version": 1}),
    ):
        with pytest.raises(JobLost):
            await write
    found = await store.get(first.id)
    assert (found.status, found.attempts, found.progress, found.result) == ("running", 2, None, None)
    assert await kinds(store, first) == ["error"]


async def test_an_attempt_that_is_given_back_does_not_count_and_waits_for_a_trainer(
    store: JobStore, conninfo: str
) -> None:
    job = await taken(store)
    before = queued(conninfo)
    await store.give_back(job)
    found = await store.get(job.id)
    assert (found.status, found.attempts) == ("waiting", 0)
    assert queued(conninfo) == before + 1


async def test_progress_becomes_the_progress_of_the_job_and_other_events_do_not(store: JobStore) -> None:
    job = await taken(store)
    await store.report(job, "progress", {"step": 1})
    await store.report(job, "metric", {"name": "rmse"})
    assert (await store.get(job.id)).progress == {"step": 1}
    assert [(event.kind, event.data) for event in await store.events(job.id, 0)] == [
        ("progress", {"step": 1}),
        ("metric", {"name": "rmse"}),
    ]


async def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_by_its_trainer(store: JobStore) -> None:
    waiting, running = await added(store, "tweets"), await taken(store, "housing")
    assert not await store.beat(running)
    cancelled = await store.cancel(waiting.id)
    assert (cancelled.status, cancelled.finished_at is not None) == ("cancelled", True)
    assert (await store.cancel(running.id)).status == "running"
    assert await store.beat(running)
    assert await kinds(store, waiting) == ["end"]
    assert await kinds(store, running) == []


async def test_a_job_that_has_ended_stays_as_it_is_when_it_is_cancelled(store: JobStore) -> None:
    job = await taken(store)
    await store.end(job, "succeeded", result={"version": 1})
    assert (await store.cancel(job.id)).status == "succeeded"
    assert await kinds(store, job) == ["result", "end"]
    with pytest.raises(UnknownJob):
        await store.cancel(job.id + 1)


async def test_a_job_that_failed_keeps_its_error_as_an_event(store: JobStore) -> None:
    job = await taken(store)
    await store.end(job, "failed", error="no rows")
    found = await store.get(job.id)
    assert (found.status, found.error, found.result) == ("failed", "no rows", None)
    assert [(event.kind, event.data) for event in await store.events(job.id, 0)] == [
        ("error", {"detail": "no rows"}),
        ("end", {"status": "failed"}),
    ]


STALLED_SECONDS = 0.5
"""Postgres has run for longer than this when the first job is there."""


async def test_only_jobs_without_a_recent_heartbeat_are_released(store: JobStore, conninfo: str) -> None:
    stalled, alive = await taken(store, "tweets"), await taken(store, "housing")
    age(conninfo, stalled, timedelta(hours=1))
    age(conninfo, alive, timedelta(hours=-1))
    before = queued(conninfo)
    released = await store.release_stalled(STALLED_SECONDS, attempts=3)
    assert [(job.id, job.status, status) for job, status in released] == [(stalled.id, "running", "waiting")]
    assert (await store.get(stalled.id)).status == "waiting"
    assert (await store.get(alive.id)).status == "running"
    assert await kinds(store, stalled) == ["error"]
    assert queued(conninfo) == before + 1


async def test_a_stalled_job_without_an_attempt_left_has_failed(store: JobStore, conninfo: str) -> None:
    job = await taken(store)
    age(conninfo, job, timedelta(hours=1))
    before = queued(conninfo)
    assert [status for _, status in await store.release_stalled(STALLED_SECONDS, attempts=1)] == ["failed"]
    found = await store.get(job.id)
    assert (found.status, found.finished_at is not None) == ("failed", True)
    assert "1 attempts" in (found.error or "")
    assert await kinds(store, job) == ["error", "end"]
    assert queued(conninfo) == before


async def test_a_stalled_job_that_was_to_be_cancelled_is_cancelled(store: JobStore, conninfo: str) -> None:
    job = await taken(store)
    await store.cancel(job.id)
    age(conninfo, job, timedelta(hours=1))
    assert [status for _, status in await store.release_stalled(STALLED_SECONDS, attempts=3)] == ["cancelled"]
    found = await store.get(job.id)
    assert (found.status, found.error) == ("cancelled", None)
    assert await kinds(store, job) == ["end"]


async def test_a_waiting_job_is_queued_anew_only_when_nothing_stands_for_it(store: JobStore, conninfo: str) -> None:
    job = await added(store)
    age(conninfo, job, timedelta(hours=1))
    assert await store.release_stalled(STALLED_SECONDS, attempts=3) == []
    with psycopg.connect(conninfo) as connection:
        connection.execute("update procrastinate_jobs set status = 'failed'")
    released = await store.release_stalled(STALLED_SECONDS, attempts=3)
    assert [(job.status, status) for job, status in released] == [("waiting", "waiting")]
    assert queued(conninfo) == 1
    assert await kinds(store, job) == [], "no attempt failed"
    assert (await store.get(job.id)).attempts == 0
    assert await store.release_stalled(STALLED_SECONDS, attempts=3) == []


async def test_jobs_and_events_are_listed_in_order_and_by_page(store: JobStore) -> None:
    first = await taken(store, "tweets")
    await store.end(first, "failed", error="no rows")
    second, other = await added(store, "tweets"), await added(store, "housing")
    assert [job.id for job in await store.list(None, None, 10, None)] == [other.id, second.id, first.id]
    assert [job.id for job in await store.list("tweets", None, 10, None)] == [second.id, first.id]
    assert [job.id for job in await store.list("tweets", None, 1, None)] == [second.id]
    assert [job.id for job in await store.list(None, None, 10, second.id)] == [first.id]
    assert [job.id for job in await store.list(None, "waiting", 10, None)] == [other.id, second.id]
    assert [job.id for job in await store.list("tweets", "failed", 10, None)] == [first.id]
    error, end = await store.events(first.id, 0)
    assert (error.kind, end.kind) == ("error", "end")
    assert [event.id for event in await store.events(first.id, error.id)] == [end.id]
    assert await store.events(other.id, 0) == []


async def test_nothing_is_released_before_postgres_has_run_for_as_long_as_a_heartbeat_may_be_missing(
    store: JobStore, conninfo: str
) -> None:
    job = await taken(store)
    age(conninfo, job, timedelta(days=100))
    assert await store.release_stalled(timedelta(days=10).total_seconds(), attempts=3) == []
    assert (await store.get(job.id)).status == "running"


async def test_the_jobs_of_an_erased_person_lose_the_id_in_the_statistics_too(store: JobStore, conninfo: str) -> None:
    for task in ("tweets", "housing"):
        await store.add(task, "logreg", {}, "ann")
    kept = await store.add("products", "logreg", {}, "bob")
    with psycopg.connect(conninfo) as connection:
        connection.execute("analyze training_jobs")
    statistics = "select concat(most_common_vals, histogram_bounds) from pg_stats where attname = 'actor'"
    with psycopg.connect(conninfo) as connection:
        assert "ann" in str(connection.execute(statistics).fetchall())
    assert (await store.clear_actor("ann"), await store.clear_actor("ann")) == (2, 0)
    assert [job.actor for job in await store.list(None, None, 10, None)] == ["bob", None, None]
    assert kept
    with psycopg.connect(conninfo) as connection:
        assert "ann" not in str(connection.execute(statistics).fetchall())
