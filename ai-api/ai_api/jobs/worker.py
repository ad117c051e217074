"""The trainer: takes jobs one at a time, runs each in a child process, and takes over jobs of stopped trainers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from procrastinate.exceptions import ConnectorException

from ai_api.errors import QueueUnavailable
from ai_api.metrics import GATE, JOB_SECONDS, JOBS, JOBS_TAKEN_UP

from .child import Child
from .database import queue_app
from .job import Job, JobLost, Status
from .store import QUEUE, TASK, JobStore

log = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 3
RECONNECT_SECONDS = 1
POLL_SECONDS = 1
ChildCommand = Callable[[Job], Sequence[str]]


@dataclass(frozen=True)
class WorkerTiming:
    """Seconds between heartbeats, without a heartbeat until another trainer takes the job, and that a job may take."""

    heartbeat_seconds: float = 5
    stalled_seconds: float = 15
    job_timeout_seconds: float = 7_200


async def work(conninfo: str, command: ChildCommand, timing: WorkerTiming, stop: asyncio.Event) -> None:
    """Works until `stop` is set, also through times without Postgres. `command` makes a job's child command line."""
    trainer = Trainer(conninfo, command, timing)
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
                log.warning("the job queue is unavailable; trying again in %s s", RECONNECT_SECONDS)
                await asyncio.sleep(RECONNECT_SECONDS)
                await trainer.finish_or(stopped)
        await trainer.stop()
    finally:
        for task in (sweep, stopped):
            task.cancel()
        await asyncio.gather(sweep, stopped, return_exceptions=True)
        await trainer.close()


class Trainer:
    """One process that trains. procrastinate chooses which job comes next; JobStore records what happens to it."""

    def __init__(self, conninfo: str, command: ChildCommand, timing: WorkerTiming) -> None:
        self._conninfo = conninfo
        self._command = command
        self._timing = timing
        self._store = JobStore(conninfo)
        self._running: asyncio.Task[None] | None = None

    async def serve_queue(self) -> None:
        """Runs procrastinate's worker; returns or raises when it loses the database."""
        app = queue_app(self._conninfo)

        @app.task(name=TASK, queue=QUEUE)
        async def train(job_id: int) -> None:
            # A task apart from procrastinate's worker: that one ends with Postgres, the training goes on.
            self._running = asyncio.create_task(self.run(job_id))
            await asyncio.shield(self._running)

        async with app.open_async():
            await app.run_worker_async(
                queues=[QUEUE],
                concurrency=1,
                install_signal_handlers=False,
                fetch_job_polling_interval=POLL_SECONDS,
                shutdown_graceful_timeout=0,
                update_heartbeat_interval=self._timing.heartbeat_seconds,
                stalled_worker_timeout=max(self._timing.stalled_seconds, 3 * self._timing.heartbeat_seconds),
                delete_jobs="always",
            )

    async def finish_or(self, stopped: asyncio.Task[bool]) -> None:
        """Waits until the running training ends, if there is one, or this trainer is stopped."""
        if self._running is not None and not self._running.done():
            await asyncio.wait({self._running, stopped}, return_when=asyncio.FIRST_COMPLETED)

    async def stop(self) -> None:
        """Stops the running training, if there is one, so that another trainer takes its job."""
        if self._running is not None and not self._running.done():
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def close(self) -> None:
        """Closes the connections to the queue database."""
        await self._store.aclose()

    async def run(self, job_id: int) -> None:
        """Takes the job, if it still waits, and runs attempts of it until it ends."""
        while job := await self._store.take(job_id):
            started = time.monotonic()
            log.info("job %d: training %s with %s, attempt %d", job.id, job.task, job.recipe, job.attempts)
            try:
                again = await self._attempt(job)
            except JobLost:
                log.warning("job %d belongs to another trainer now, or has ended", job.id)
                return
            except asyncio.CancelledError:
                await asyncio.shield(self._give_back(job))
                raise
            if not again:
                JOB_SECONDS.labels(job.task).observe(time.monotonic() - started)
                return

    async def _attempt(self, job: Job) -> bool:
        """Runs one child process. True when it crashed and the job waits for another attempt."""
        child = await Child.start(self._command(job))
        last: dict[str, object] = {}
        listening = asyncio.create_task(self._listen(job, child, last))
        try:
            ending = await self._watch(job, listening) or await child.exit_status()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await child.stop()
        return await self._conclude(job, ending, last)

    async def _listen(self, job: Job, child: Child, last: dict[str, object]) -> None:
        """Records the child's events; its "result" or "error" is put into `last`."""
        async for event in child.events():
            kind = str(event.pop("kind"))
            if kind in ("result", "error"):
                last.update(event, kind=kind)
            else:
                await self._persist(lambda kind=kind, event=event: self._store.report(job, kind, event))  # type: ignore[misc]

    async def _watch(self, job: Job, listening: asyncio.Task[None]) -> str:
        """Waits for the end of the child's events: "" then, or before that "cancelled" or "timeout"."""
        deadline = time.monotonic() + self._timing.job_timeout_seconds
        interval = min(self._timing.heartbeat_seconds, POLL_SECONDS)
        while not listening.done():
            await asyncio.wait({listening}, timeout=interval)
            if await self._persist(lambda: self._store.beat(job)):
                return "cancelled"
            if time.monotonic() > deadline:
                return "timeout"
        listening.result()
        return ""

    async def _conclude(self, job: Job, ending: str | int, last: Mapping[str, object]) -> bool:
        """Records how an attempt ended. True when the job waits for another attempt."""
        data = {name: value for name, value in last.items() if name != "kind"}
        if ending == "cancelled":
            await self._end(job, "cancelled")
        elif ending == "timeout":
            seconds = self._timing.job_timeout_seconds
            await self._end(job, "failed", error=f"It ran for longer than {seconds:g} s and was stopped.")
        elif last.get("kind") == "result":
            GATE.labels(job.task, "promoted" if data.get("promoted") else "kept").inc()
            await self._end(job, "succeeded", result=data)
        elif last.get("kind") == "error":
            await self._end(job, "failed", error=str(data.get("detail")))
        elif job.attempts >= ATTEMPTS:
            await self._end(
                job, "failed", error=f"Its process crashed ({_exit(ending)}) in each of {ATTEMPTS} attempts."
            )
        else:
            log.warning("job %d: its process crashed (%s); it is retried", job.id, _exit(ending))
            reason = f"Its process crashed ({_exit(ending)}); it is retried."
            await self._persist(lambda: self._store.retry(job, reason))
            return True
        return False

    async def _end(
        self, job: Job, status: Status, *, result: Mapping[str, object] | None = None, error: str | None = None
    ) -> None:
        await self._persist(lambda: self._store.end(job, status, result=result, error=error))
        JOBS.labels(job.task, status).inc()
        log.info("job %d: %s%s", job.id, status, f": {error}" if error else "")

    async def _give_back(self, job: Job) -> None:
        """This trainer stops: the job waits for another, and the interrupted attempt does not count."""
        with contextlib.suppress(QueueUnavailable, JobLost):
            await self._store.give_back(job)

    async def _persist(self, write: Callable[[], Awaitable[T]]) -> T:
        """Repeats a write while Postgres is away. The child goes on meanwhile."""
        while True:
            try:
                return await write()
            except QueueUnavailable:
                await asyncio.sleep(RECONNECT_SECONDS)

    async def sweep_forever(self) -> None:
        """Releases stalled jobs again and again; an error is logged and does not end the loop."""
        while True:
            try:
                await self.sweep()
            except QueueUnavailable:
                log.debug("the job queue is unavailable; stalled jobs are released later")
            except Exception as error:
                log.error("releasing stalled jobs failed: %s", type(error).__name__)
            await asyncio.sleep(min(POLL_SECONDS, self._timing.stalled_seconds / 3))

    async def sweep(self) -> int:
        """Releases jobs whose trainer sends no heartbeat, and those that no trainer was woken for. Returns how many."""
        stalled = await self._store.release_stalled(self._timing.stalled_seconds, ATTEMPTS)
        for job, status in stalled:
            if status != "waiting":
                JOBS.labels(job.task, status).inc()
                continue
            log.warning("job %d: waits for another trainer, its own sent no heartbeat", job.id)
            if job.status == "running":
                JOBS_TAKEN_UP.labels(job.task).inc()
        return len(stalled)


def _exit(status: str | int) -> str:
    return f"signal {-status}" if isinstance(status, int) and status < 0 else f"status {status}"
