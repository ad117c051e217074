"""Jobs wait, run, crash, stall and end, on a real Postgres. The child processes are small programs, not trainings."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ai_api.errors import JobRunning, QueueUnavailable, UnknownJob
from ai_api.jobs.database import QueuePool, migrate
from ai_api.jobs.job import Job, JobEvent
from ai_api.jobs.queue import Jobs
from ai_api.jobs.worker import ATTEMPTS, WorkerTiming, work

pytestmark = pytest.mark.anyio

SECONDS = 30
TIMING = WorkerTiming(heartbeat_seconds=0.5, stalled_seconds=2, job_timeout_seconds=60)

GOOD = """
print('{"kind": "progress", "step": 1, "total": 2, "message": "fitting"}', flush=True)
print('{"kind": "metric", "name": "rmse", "value": 0.5}', flush=True)
print("a library says hello", flush=True)
print('{"kind": "result", "version": 7, "promoted": true, "reason": "first version"}', flush=True)
"""
ENDLESS = 'import sys; print(\'{"kind": "progress", "step": 0}\', flush=True); sys.stdin.read()'
CRASHING = "import os; os.kill(os.getpid(), 9)"
FAILING = 'print(\'{"kind": "error", "error": "TrainingFailed", "detail": "no rows"}\'); raise SystemExit(1)'


@pytest.fixture
async def jobs(conninfo: str) -> AsyncIterator[Jobs]:
    async with contextlib.aclosing(Jobs(conninfo)) as opened:
        yield opened


async def events_of(jobs: Jobs, job: Job, after: int = 0) -> list[JobEvent]:
    """The events of a job with an id above `after`, when it has ended."""
    async with asyncio.timeout(SECONDS):
        return [event async for events in jobs.follow(job.id, after) for event in events]


@asynccontextmanager
async def trainer(
    conninfo: str, program: str | Callable[[Job], str], timing: WorkerTiming = TIMING
) -> AsyncIterator[None]:
    """A trainer whose child processes run this Python program."""
    stop = asyncio.Event()
    command = program if callable(program) else lambda _: program
    working = asyncio.create_task(work(conninfo, lambda job: [sys.executable, "-c", command(job)], timing, stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(working, SECONDS)


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SECONDS):
        while not await check():
            await asyncio.sleep(0.05)


async def reach(jobs: Jobs, job: Job, *statuses: str) -> Job:
    async def reached() -> bool:
        return (await jobs.get(job.id)).status in statuses

    await until(reached)
    return await jobs.get(job.id)


async def started(jobs: Jobs, job: Job, attempts: int = 1) -> None:
    async def reached() -> bool:
        found = await jobs.get(job.id)
        return found.attempts >= attempts and found.progress is not None

    await until(reached)


async def test_a_job_runs_and_records_its_events(jobs: Jobs, conninfo: str) -> None:
    job = await jobs.retrain("tweets", "tfidf+logreg", {"C": 2}, "somebody")
    assert (job.status, job.params, job.actor) == ("waiting", {"C": 2}, "somebody")
    async with trainer(conninfo, GOOD):
        events = await events_of(jobs, job)
    ended = await jobs.get(job.id)
    assert (ended.status, ended.attempts, ended.error) == ("succeeded", 1, None)
    assert ended.result == {"version": 7, "promoted": True, "reason": "first version"}
    assert ended.progress == {"step": 1, "total": 2, "message": "fitting"}
    assert ended.started_at is not None
    assert ended.finished_at is not None
    assert [event.kind for event in events] == ["progress", "metric", "result", "end"]
    assert [event.kind for event in await events_of(jobs, job, after=events[1].id)] == ["result", "end"]


async def test_one_job_per_task_waits_or_runs(jobs: Jobs) -> None:
    first = await jobs.retrain("tweets", "a", {}, None)
    with pytest.raises(JobRunning) as caught:
        await jobs.retrain("tweets", "b", {}, None)
    assert caught.value.job_id == first.id
    other = await jobs.retrain("housing", "a", {}, None)
    assert [job.id for job in await jobs.list()] == [other.id, first.id]
    assert [job.id for job in await jobs.list("tweets")] == [first.id]
    assert [job.id for job in await jobs.list(before=other.id, limit=1)] == [first.id]


async def test_of_concurrent_requests_for_a_task_one_gets_the_job(jobs: Jobs) -> None:
    results = await asyncio.gather(*(jobs.retrain("tweets", "a", {}, None) for _ in range(8)), return_exceptions=True)
    added = [result for result in results if isinstance(result, Job)]
    assert len(added) == 1
    assert all(result.job_id == added[0].id for result in results if isinstance(result, JobRunning))
    assert sum(isinstance(result, JobRunning) for result in results) == 7


async def test_a_task_can_be_trained_again_after_its_job_ended(jobs: Jobs, conninfo: str) -> None:
    async with trainer(conninfo, GOOD):
        await reach(jobs, await jobs.retrain("tweets", "a", {}, None), "succeeded")
        await reach(jobs, await jobs.retrain("tweets", "a", {}, None), "succeeded")


async def test_a_connection_whose_commit_is_cancelled_holds_no_transaction_and_no_place(conninfo: str) -> None:
    opened: list[psycopg.AsyncConnection[Any]] = []
    pool = QueuePool(conninfo, size=2)

    async def commit_for_ever() -> None:
        async with pool.connected() as connection:
            opened.append(connection)
            await connection.execute(
                "create temp table slow (x int);"
                " create function pg_temp.wait() returns trigger language plpgsql as"
                " 'begin perform pg_sleep(600); return null; end';"
                " create constraint trigger wait after insert on slow deferrable initially deferred"
                " for each row execute function pg_temp.wait();"
                " insert into slow values (1)"
            )

    async def commits() -> bool:
        async with pool.connected() as connection:
            asked = await connection.execute(
                "select from pg_stat_activity where query ilike 'commit' and state = 'active'"
            )
            return bool(await asked.fetchall())

    committing = asyncio.create_task(commit_for_ever())
    await until(commits)
    assert not committing.done()
    committing.cancel()
    await asyncio.wait({committing})
    assert committing.cancelled()
    assert opened[0].closed or opened[0].info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    async with pool.connected(), pool.connected():
        pass
    await pool.close()


async def test_a_waiting_job_is_cancelled_at_once(jobs: Jobs, conninfo: str) -> None:
    job = await jobs.cancel((await jobs.retrain("tweets", "a", {}, None)).id)
    assert job.status == "cancelled"
    assert [event.data for event in await events_of(jobs, job)] == [{"status": "cancelled"}]
    async with trainer(conninfo, GOOD):
        await reach(jobs, await jobs.retrain("tweets", "a", {}, None), "succeeded")
    assert (await jobs.get(job.id)).attempts == 0


async def test_a_running_job_is_cancelled_and_its_process_ends(jobs: Jobs, conninfo: str, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    async with trainer(
        conninfo, f"import os, pathlib; pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\n{ENDLESS}"
    ):
        job = await jobs.retrain("tweets", "a", {}, None)
        await started(jobs, job)
        assert (await jobs.cancel(job.id)).status == "running"
        await reach(jobs, job, "cancelled")
        assert not Path(f"/proc/{pid.read_text()}").exists()
        assert (await jobs.cancel(job.id)).status == "cancelled"


async def test_a_job_that_ends_with_an_error_is_not_retried(jobs: Jobs, conninfo: str) -> None:
    async with trainer(conninfo, FAILING):
        job = await reach(jobs, await jobs.retrain("tweets", "a", {}, None), "failed")
    assert (job.attempts, job.error) == (1, "no rows")


async def test_numbers_that_postgres_cannot_store_are_null_in_the_result(jobs: Jobs, conninfo: str) -> None:
    program = """print('{"kind": "result", "metrics": {"rmse": Infinity, "mae": NaN, "r2": -Infinity, "rows": 3}}')"""
    job = await jobs.retrain("tweets", "logreg", {}, None)
    async with trainer(conninfo, program):
        ended = await reach(jobs, job, "succeeded", "failed")
    assert ended.result == {"metrics": {"rmse": None, "mae": None, "r2": None, "rows": 3}}


async def test_a_crashed_job_is_retried_and_succeeds(jobs: Jobs, conninfo: str) -> None:
    async with trainer(conninfo, lambda job: CRASHING if job.attempts == 1 else GOOD):
        job = await jobs.retrain("tweets", "a", {}, None)
        job = await reach(jobs, job, "succeeded", "failed")
    assert (job.status, job.attempts) == ("succeeded", 2)
    kinds = [event.kind for event in await events_of(jobs, job)]
    assert kinds == ["error", "progress", "metric", "result", "end"]


async def test_a_job_fails_after_three_crashes(jobs: Jobs, conninfo: str) -> None:
    async with trainer(conninfo, CRASHING):
        job = await reach(jobs, await jobs.retrain("tweets", "a", {}, None), "failed")
    assert job.attempts == ATTEMPTS
    assert "signal 9" in (job.error or "")


async def test_a_job_that_exceeds_its_timeout_is_stopped(jobs: Jobs, conninfo: str) -> None:
    async with trainer(conninfo, ENDLESS, WorkerTiming(0.5, 5, job_timeout_seconds=1)):
        job = await reach(jobs, await jobs.retrain("tweets", "a", {}, None), "failed")
    assert "longer than 1 s" in (job.error or "")


async def test_a_job_of_a_stopped_trainer_waits_again_without_counting_the_attempt(jobs: Jobs, conninfo: str) -> None:
    async with trainer(conninfo, ENDLESS):
        job = await jobs.retrain("tweets", "a", {}, None)
        await started(jobs, job)
    waiting = await jobs.get(job.id)
    assert (waiting.status, waiting.attempts) == ("waiting", 0)
    async with trainer(conninfo, GOOD):
        assert (await reach(jobs, job, "succeeded")).attempts == 1


WORKER = """
import asyncio, sys
from ai_api.jobs.worker import WorkerTiming, work
program, conninfo = sys.argv[1:]
asyncio.run(work(conninfo, lambda job: [sys.executable, "-c", program], WorkerTiming(0.5, 2, 60), asyncio.Event()))
"""


@asynccontextmanager
async def trainer_process(conninfo: str, program: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, program, conninfo)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_the_job_of_a_killed_trainer_is_run_by_another_and_its_child_process_ends(
    jobs: Jobs, conninfo: str, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    watching = f"""
import os, pathlib, time
from ai_api.jobs.child import ChildOutput
pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))
ChildOutput()("progress", {{"step": 0}})
time.sleep(600)
"""
    job = await jobs.retrain("tweets", "a", {}, None)
    async with trainer_process(conninfo, watching) as killed:
        await started(jobs, job)
        killed.kill()
        await killed.wait()

    async def gone() -> bool:
        return not Path(f"/proc/{pid.read_text()}").exists()

    await until(gone)
    async with trainer(conninfo, GOOD):
        job = await reach(jobs, job, "succeeded")
    assert job.attempts == 2


async def age(conninfo: str, job: Job) -> None:
    """Moves the job's last heartbeat back by an hour, so that the next trainer need not wait until it is stalled."""
    async with await psycopg.AsyncConnection.connect(conninfo) as connection:
        await connection.execute(
            "update training_jobs set heartbeat_at = heartbeat_at - interval '1 hour' where id = %s", (job.id,)
        )


async def test_a_job_whose_trainer_is_killed_in_each_attempt_fails_with_a_reason(jobs: Jobs, conninfo: str) -> None:
    job = await jobs.retrain("tweets", "a", {}, None)
    for attempt in range(1, ATTEMPTS + 1):
        async with trainer_process(conninfo, ENDLESS) as killed:
            await started(jobs, job, attempt)
            killed.kill()
            await killed.wait()
        await age(conninfo, job)
    async with trainer(conninfo, GOOD):
        job = await reach(jobs, job, "failed", "succeeded")
    assert (job.status, job.attempts) == ("failed", ATTEMPTS)
    assert "sent no heartbeat" in (job.error or "")


async def test_a_trainer_that_lost_its_job_stops_it_and_writes_nothing_more(
    jobs: Jobs, conninfo: str, tmp_path: Path
) -> None:
    pid, timing = tmp_path / "pid", WorkerTiming(heartbeat_seconds=0.5, stalled_seconds=60)
    reporting = f"""
import os, pathlib, time
pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))
while True:
    print('{{"kind": "progress", "step": 1}}', flush=True)
    time.sleep(0.1)
"""
    async with trainer(conninfo, reporting, timing):
        job = await jobs.retrain("tweets", "a", {}, None)
        await started(jobs, job)
        async with await psycopg.AsyncConnection.connect(conninfo) as connection:
            await connection.execute("update training_jobs set attempts = 9, progress = null where id = %s", (job.id,))

        async def gone() -> bool:
            return not Path(f"/proc/{pid.read_text()}").exists()

        await until(gone)
        found = await jobs.get(job.id)
    assert (found.status, found.attempts, found.progress) == ("running", 9, None)


async def test_the_migration_can_be_repeated_and_run_concurrently(conninfo: str) -> None:
    await asyncio.gather(*(migrate(conninfo) for _ in range(3)))


async def test_without_postgres_the_queue_is_unavailable(free_port: Callable[[], int]) -> None:
    jobs = Jobs(f"host=127.0.0.1 port={free_port()} dbname=queue user=nobody connect_timeout=2")
    with pytest.raises(QueueUnavailable):
        await jobs.retrain("tweets", "a", {}, None)


async def test_an_unknown_job_is_refused(jobs: Jobs) -> None:
    with pytest.raises(UnknownJob):
        await jobs.get(2**62)
    with pytest.raises(UnknownJob):
        await jobs.cancel(2**62)
