"""Many waiting rows, one call of a model. No timer: a lone row never waits, a busy model takes what gathered meanwhile.

A row owes its neighbours nothing: a caller who leaves, or a row that makes the model fail, is taken out alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ai_api.errors import Overloaded, PredictionFailed
from ai_api.metrics import BATCH_ROWS, COMPUTE_SECONDS, QUEUE_SECONDS, QUEUED_ROWS, REFUSED

log = logging.getLogger(__name__)

R = TypeVar("R")
A = TypeVar("A")


@dataclass(slots=True)
class Waiting(Generic[R, A]):
    """One row in the queue, with the place where its caller waits for the answer."""

    row: R
    cost: int
    future: asyncio.Future[A]
    since: float = field(default_factory=time.perf_counter)
    queue_seconds: float = 0.0
    compute_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class BatchResult(Generic[A]):
    """The answers of one request in the order of its rows, with the longest wait and computation among them."""

    answers: list[A]
    queue_seconds: float
    compute_seconds: float


class Batcher(Generic[R, A]):
    """The queue of one version.

    `run` gets rows, shortest first, and gives one answer each in that order; it runs on `executor`, one call at a time.
    `budget` bounds a batch's padded cost (rows x the dearest of them), `rows` its length, `capacity` what may wait.
    """

    def __init__(
        self,
        run: Callable[[Sequence[R]], Sequence[A]],
        *,
        task: str,
        cost: Callable[[R], int],
        budget: int,
        rows: int,
        capacity: int,
        executor: Executor | None = None,
    ) -> None:
        self._run = run
        self._task = task
        self._cost = cost
        self._budget = budget
        self._rows = rows
        self._capacity = capacity
        self._executor = executor
        self._queue: deque[Waiting[R, A]] = deque()
        self._runner: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._queue)

    async def submit(self, rows: Sequence[R]) -> BatchResult[A]:
        """The answers for `rows`. All are queued or none: Overloaded at once when they do not fit.

        Raises PredictionFailed when the model fails on one of these rows, whatever happens to other callers' rows.
        """
        if len(self._queue) + len(rows) > self._capacity:
            REFUSED.labels(self._task, "queue").inc(len(rows))
            raise Overloaded
        loop = asyncio.get_running_loop()
        mine = [Waiting[R, A](row, self._cost(row), loop.create_future()) for row in rows]
        self._queue.extend(mine)
        QUEUED_ROWS.labels(self._task).inc(len(rows))
        if self._runner is None:
            self._runner = loop.create_task(self._drain())
        try:
            answers = await asyncio.gather(*(waiting.future for waiting in mine))
        finally:
            for waiting in mine:  # the caller left, or one row failed: nobody reads the others
                waiting.future.cancel()
        return BatchResult(
            answers,
            max((waiting.queue_seconds for waiting in mine), default=0.0),
            max((waiting.compute_seconds for waiting in mine), default=0.0),
        )

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._queue:
                batch = self._take()
                if not batch:
                    continue
                started = time.perf_counter()
                outcomes = await loop.run_in_executor(self._executor, self._call, [waiting.row for waiting in batch])
                seconds = time.perf_counter() - started
                COMPUTE_SECONDS.labels(self._task).observe(seconds)
                BATCH_ROWS.labels(self._task).observe(len(batch))
                for waiting, outcome in zip(batch, outcomes, strict=True):
                    waiting.queue_seconds = started - waiting.since
                    waiting.compute_seconds = seconds
                    QUEUE_SECONDS.labels(self._task).observe(waiting.queue_seconds)
                    if waiting.future.done():
                        continue
                    if isinstance(outcome, PredictionFailed):
                        waiting.future.set_exception(outcome)
                    else:
                        waiting.future.set_result(outcome)
        finally:
            self._runner = None
            QUEUED_ROWS.labels(self._task).dec(len(self._queue))
            for waiting in self._queue:  # only when the runner itself was cancelled, at shutdown
                waiting.future.cancel()
            self._queue.clear()

    def _take(self) -> list[Waiting[R, A]]:
        """The longest prefix of the queue within the budget, without callers who left, shortest row first."""
        batch: list[Waiting[R, A]] = []
        dearest, waited = 0, len(self._queue)
        while self._queue and len(batch) < self._rows:
            waiting = self._queue[0]
            if not waiting.future.done():
                dearest = max(dearest, waiting.cost)
                if batch and dearest * (len(batch) + 1) > self._budget:
                    break
                batch.append(waiting)
            self._queue.popleft()
        QUEUED_ROWS.labels(self._task).dec(waited - len(self._queue))
        batch.sort(key=lambda waiting: waiting.cost)
        return batch

    def _call(self, rows: Sequence[R]) -> list[A | PredictionFailed]:
        """Runs on the executor. A batch that fails is halved until the row that is to blame stands alone."""
        try:
            answers = list(self._run(rows))
            if len(answers) != len(rows):
                raise PredictionFailed(f"The model gave {len(answers)} answers for {len(rows)} rows.")
            return list(answers)
        except Exception as error:
            if len(rows) == 1:
                log.error("%s: the model failed on one row: %s", self._task, type(error).__name__)
                return [PredictionFailed()]
        middle = len(rows) // 2
        return self._call(rows[:middle]) + self._call(rows[middle:])
