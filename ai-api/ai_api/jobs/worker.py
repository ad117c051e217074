"""The trainer: takes jobs one at a time, runs each in a child process, and takes up those whose trainer fell silent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from procrastinate.exceptions import ConnectorException
from psycopg.types.json import Jsonb

from ai_api.errors import QueueUnavailable
from ai_api.metrics import GATE, JOB_SECONDS, JOBS, JOBS_TAKEN_UP

from .child import Child
from .queue import QUEUE, TASK, Connection, Job, Status, connected, defer, queue_app, record

log = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 3
AWAY_SECONDS = 1
LOOK_SECONDS = 1
ChildCommand = Callable[[Job], Sequence[str]]


@dataclass(frozen=True)
class WorkerTiming:
    """How often a trainer says that it is alive, when another's silence is too long, and how long a job may take."""

    heartbeat_seconds: float = 5
    stalled_seconds: float = 15
    job_timeout_seconds: float = 7_200


class JobLost(Exception):
    """The job is not this trainer's any more."""


async def work(conninfo: str, command: ChildCommand, pace: WorkerTiming, stop: asyncio.Event) -> None:
    """Works until `stop` is set. `command` makes the child's command line of a job. Survives Postgres being away."""
    trainer = Trainer(conninfo, command, pace)
    sweep = asyncio.create_task(trainer.sweep_forever())
    stopped = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            worker = asyncio.create_task(trainer.serve_queue())
            await asyncio.wait({worker, stopped}, return_when=asyncio.FIRST_COMPLETED)
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError, QueueUnavailable, ConnectorException, OSError):
                await worker
            if not stop.is_set():
                log.warning("the job queue is away; asking again in %s s", AWAY_SECONDS)
                await asyncio.sleep(AWAY_SECONDS)
                await trainer.finish_or(stopped)
        await trainer.let_go()
    finally:
        for task in (sweep, stopped):
            task.cancel()
        await asyncio.gather(sweep, stopped, return_exceptions=True)


class Trainer:
    """One process that trains. Its jobs are procrastinate's to hand out, and our table's to keep account of."""

    def __init__(self, conninfo: str, command: ChildCommand, pace: WorkerTiming) -> None:
        self._conninfo = conninfo
        self._command = command
        self._pace = pace
        self._app = queue_app(conninfo)
        self._running: asyncio.Task[None] | None = None

    async def serve_queue(self) -> None:
        """procrastinate's worker; returns or raises when it loses the database."""
        app = queue_app(self._conninfo)

        @app.task(name=TASK, queue=QUEUE)
        async def train(job_id: int) -> None:
            # Apart from procrastinate's worker, which ends when Postgres goes away: the training itself need not.
            self._running = asyncio.create_task(self.run(job_id))
            await asyncio.shield(self._running)

        async with app.open_async():
            await app.run_worker_async(
                queues=[QUEUE],
                concurrency=1,
                install_signal_handlers=False,
                fetch_job_polling_interval=LOOK_SECONDS,
                shutdown_graceful_timeout=0,
                update_heartbeat_interval=self._pace.heartbeat_seconds,
                stalled_worker_timeout=max(self._pace.stalled_seconds, 3 * self._pace.heartbeat_seconds),
                delete_jobs="always",
            )

    async def finish_or(self, stopped: asyncio.Task[bool]) -> None:
        """Waits for the training in progress, if there is one, or for the end of this trainer."""
        if self._running is not None and not self._running.done():
            await asyncio.wait({self._running, stopped}, return_when=asyncio.FIRST_COMPLETED)

    async def let_go(self) -> None:
        """Stops the training in progress, if there is one, so that another trainer takes it up."""
        if self._running is not None and not self._running.done():
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def run(self, job_id: int) -> None:
        """Takes the job, if it is still to be had, and sees it through to its end, crashes of its child included."""
        while job := await self._take(job_id):
            started = time.monotonic()
            log.info("job %d: training %s with %s, attempt %d", job.id, job.task, job.recipe, job.attempts)
            try:
                again = await self._attempt(job)
            except JobLost:
                log.warning("job %d was taken up by another trainer, or has ended", job.id)
                return
            except asyncio.CancelledError:
                await asyncio.shield(self._give_back(job))
                raise
            if not again:
                JOB_SECONDS.labels(job.task).observe(time.monotonic() - started)
                return

    async def _take(self, job_id: int) -> Job | None:
        async with connected(self._conninfo) as connection:
            rows = await connection.execute(
                "update training_jobs set status = 'running', attempts = attempts + 1, heartbeat_at = now(),"
                " started_at = coalesce(started_at, now()) where id = %s and status = 'waiting' returning *",
                (job_id,),
            )
            row = await rows.fetchone()
            return Job.of(row) if row else None

    async def _attempt(self, job: Job) -> bool:
        """One child. True when it crashed and the job waits for another attempt."""
        child = await Child.start(self._command(job))
        last: dict[str, object] = {}
        listening = asyncio.create_task(self._listen(job, child, last))
        try:
            outcome = await self._watch(job, listening) or await child.ending()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await child.stop()
        return await self._conclude(job, outcome, last)

    async def _listen(self, job: Job, child: Child, last: dict[str, object]) -> None:
        async for event in child.events():
            kind = str(event.pop("kind"))
            if kind in ("result", "error"):
                last.update(event, kind=kind)
            else:
                await self._own(job, "progress" if kind == "progress" else None, event, kind)

    async def _watch(self, job: Job, listening: asyncio.Task[None]) -> str:
        """Until the child has said all: "". Before that: "cancelled", or "timeout"."""
        deadline = time.monotonic() + self._pace.job_timeout_seconds
        beat = min(self._pace.heartbeat_seconds, LOOK_SECONDS)
        while not listening.done():
            await asyncio.wait({listening}, timeout=beat)
            if await self._cancelling(job):
                return "cancelled"
            if time.monotonic() > deadline:
                return "timeout"
        listening.result()
        return ""

    async def _conclude(self, job: Job, outcome: str | int, last: Mapping[str, object]) -> bool:
        said = {name: value for name, value in last.items() if name != "kind"}
        if outcome == "cancelled":
            await self._end(job, "cancelled")
        elif outcome == "timeout":
            await self._end(
                job, "failed", error=f"It ran for longer than {self._pace.job_timeout_seconds:g} s and was stopped."
            )
        elif last.get("kind") == "result":
            GATE.labels(job.task, "promoted" if said.get("promoted") else "kept").inc()
            await self._end(job, "succeeded", result=said)
        elif last.get("kind") == "error":
            await self._end(job, "failed", error=str(said.get("detail")))
        elif job.attempts >= ATTEMPTS:
            await self._end(
                job, "failed", error=f"Its process crashed ({_exit(outcome)}) in each of {ATTEMPTS} attempts."
            )
        else:
            log.warning("job %d: its process crashed (%s); trying again", job.id, _exit(outcome))
            await self._own(
                job,
                "status",
                "waiting",
                "error",
                {"detail": f"Its process crashed ({_exit(outcome)}); it is tried again."},
            )
            return True
        return False

    async def _cancelling(self, job: Job) -> bool:
        async def beat() -> bool:
            async with connected(self._conninfo) as connection:
                rows = await connection.execute(
                    "update training_jobs set heartbeat_at = now()"
                    " where id = %s and attempts = %s and status = 'running' returning cancelling",
                    (job.id, job.attempts),
                )
                row = await rows.fetchone()
            if row is None:
                raise JobLost
            return bool(row["cancelling"])

        return await self._persist(beat)

    async def _own(
        self, job: Job, column: str | None, value: object, kind: str, data: Mapping[str, object] | None = None
    ) -> None:
        """Writes an event of a job that is ours, and one of its columns."""

        async def write() -> None:
            async with connected(self._conninfo) as connection:
                rows = await connection.execute(
                    "update training_jobs set heartbeat_at = now(),"
                    " progress = case when %(column)s = 'progress' then %(json)s else progress end,"
                    " status = case when %(column)s = 'status' then %(text)s else status end"
                    " where id = %(id)s and attempts = %(attempts)s and status = 'running' returning id",
                    {
                        "column": column or "",
                        "json": Jsonb(value),
                        "text": str(value),
                        "id": job.id,
                        "attempts": job.attempts,
                    },
                )
                if await rows.fetchone() is None:
                    raise JobLost
                await record(connection, job.id, kind, data if data is not None else dict(value))  # type: ignore[call-overload]

        await self._persist(write)

    async def _end(
        self, job: Job, status: Status, *, result: Mapping[str, object] | None = None, error: str | None = None
    ) -> None:
        async def write() -> None:
            async with connected(self._conninfo) as connection:
                rows = await connection.execute(
                    "update training_jobs set status = %s, result = %s, error = %s, finished_at = now()"
                    " where id = %s and attempts = %s and status = 'running' returning id",
                    (status, None if result is None else Jsonb(dict(result)), error, job.id, job.attempts),
                )
                if await rows.fetchone() is None:
                    raise JobLost
                if result is not None:
                    await record(connection, job.id, "result", result)
                if error is not None:
                    await record(connection, job.id, "error", {"detail": error})
                await record(connection, job.id, "end", {"status": status})

        await self._persist(write)
        JOBS.labels(job.task, status).inc()
        log.info("job %d: %s%s", job.id, status, f": {error}" if error else "")

    async def _give_back(self, job: Job) -> None:
        """This trainer stops: the job waits for another, and the interruption counts as no attempt."""
        with contextlib.suppress(QueueUnavailable):
            async with connected(self._conninfo) as connection:
                rows = await connection.execute(
                    "update training_jobs set status = 'waiting', attempts = attempts - 1"
                    " where id = %s and attempts = %s and status = 'running' returning id",
                    (job.id, job.attempts),
                )
                if await rows.fetchone():
                    await defer(self._app, connection, job.id)

    async def _persist(self, write: Callable[[], Awaitable[T]]) -> T:
        """Repeats while Postgres is away: the child goes on, and what it finds out is not lost."""
        while True:
            try:
                return await write()
            except QueueUnavailable:
                await asyncio.sleep(AWAY_SECONDS)

    async def sweep_forever(self) -> None:
        while True:
            try:
                await self.sweep()
            except QueueUnavailable:
                log.debug("the queue is away; stalled jobs are looked for later")
            except Exception as error:
                log.error("looking for stalled jobs failed: %s", type(error).__name__)
            await asyncio.sleep(min(LOOK_SECONDS, self._pace.stalled_seconds / 3))

    async def sweep(self) -> int:
        """Takes up jobs whose trainer fell silent, and those that no trainer was told of; how many.

        A Postgres that has just started has heard nobody yet, so everyone gets a full term from then on.
        """
        async with connected(self._conninfo) as connection:
            rows = await connection.execute(
                "select * from training_jobs j where heartbeat_at < now() - make_interval(secs => %(s)s)"
                " and pg_postmaster_start_time() < now() - make_interval(secs => %(s)s)"
                " and (status = 'running' or (status = 'waiting' and not exists"
                " (select from procrastinate_jobs p where p.id = j.queue_id and p.status = 'todo')))"
                " for update skip locked",
                {"s": self._pace.stalled_seconds},
            )
            found = await rows.fetchall()
            for row in found:
                await self._take_up(connection, Job.of(row), cancelling=row["cancelling"])
            return len(found)

    async def _take_up(self, connection: Connection, job: Job, *, cancelling: bool) -> None:
        if job.status == "running" and (cancelling or job.attempts >= ATTEMPTS):
            status = "cancelled" if cancelling else "failed"
            error = None if cancelling else f"Its trainer fell silent in each of {ATTEMPTS} attempts."
            await connection.execute(
                "update training_jobs set status = %s, error = %s, finished_at = now() where id = %s",
                (status, error, job.id),
            )
            if error:
                await record(connection, job.id, "error", {"detail": error})
            await record(connection, job.id, "end", {"status": status})
            JOBS.labels(job.task, status).inc()
            return
        log.warning("job %d: taken up again, its trainer has been silent", job.id)
        await connection.execute("update training_jobs set status = 'waiting' where id = %s", (job.id,))
        if job.status == "running":
            await record(connection, job.id, "error", {"detail": "Its trainer fell silent; another takes it up."})
            JOBS_TAKEN_UP.labels(job.task).inc()
        await defer(self._app, connection, job.id)


def _exit(status: str | int) -> str:
    return f"signal {-status}" if isinstance(status, int) and status < 0 else f"status {status}"
