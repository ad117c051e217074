"""Waiting rows of many callers go into one call of a model.

There is no timer: a lone row never waits, and a busy model takes the rows that arrived meanwhile. A failed or cancelled
row never affects others in its batch.
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

from ai_api.errors import NoFinitePrediction, Overloaded, PredictionFailed
from ai_api.metrics import BATCH_ROWS, COMPUTE_SECONDS, QUEUE_SECONDS, QUEUED_ROWS, REFUSED

log = logging.getLogger(__name__)

RowT = TypeVar("RowT")
OutputT = TypeVar("OutputT")


@dataclass(slots=True)
class QueuedRow(Generic[RowT, OutputT]):
    """One row in the queue, and the future that its caller awaits. `cost` is in the units of the batch budget."""

    row: RowT
    cost: int
    future: asyncio.Future[OutputT]
    since: float = field(default_factory=time.perf_counter)
    queue_seconds: float = 0.0
    compute_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class BatchResult(Generic[OutputT]):
    """The model outputs of one request in the order of its rows, with the longest wait and computation among them."""

    outputs: list[OutputT]
    queue_seconds: float
    compute_seconds: float


class Batcher(Generic[RowT, OutputT]):
    """The queue of one version.

    `run` takes rows, sorted by cost, and returns one output each in that order. It runs on `executor`, one call at a
    time. `budget` bounds a batch's padded cost (number of rows times the largest cost), `rows` its length, and
    `capacity` the length of the queue.
    """

    def __init__(
        self,
        run: Callable[[Sequence[RowT]], Sequence[OutputT]],
        *,
        task: str,
        cost: Callable[[RowT], int],
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
        self._queue: deque[QueuedRow[RowT, OutputT]] = deque()
        self._runner: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Rows in the queue; those that the model computes now are not counted."""
        return len(self._queue)

    async def submit(self, rows: Sequence[RowT]) -> BatchResult[OutputT]:
        """The outputs for `rows`. Either all rows are queued or none: Overloaded at once when they do not fit.

        PredictionFailed when the model fails on one of these rows. Rows of other callers have no influence.
        """
        if len(self._queue) + len(rows) > self._capacity:
            REFUSED.labels(self._task, "queue").inc(len(rows))
            raise Overloaded
        loop = asyncio.get_running_loop()
        queued = [QueuedRow[RowT, OutputT](row, self._cost(row), loop.create_future()) for row in rows]
        self._queue.extend(queued)
        QUEUED_ROWS.labels(self._task).inc(len(rows))
        if self._runner is None:
            self._runner = loop.create_task(self._drain())
        try:
            outputs = await asyncio.gather(*(entry.future for entry in queued))
        finally:
            for entry in queued:  # the caller left, or one row failed: the other outputs have no reader
                entry.future.cancel()
        return BatchResult(
            outputs,
            max((entry.queue_seconds for entry in queued), default=0.0),
            max((entry.compute_seconds for entry in queued), default=0.0),
        )

    async def _drain(self) -> None:
        """Runs batches until the queue is empty."""
        batch: list[QueuedRow[RowT, OutputT]] = []
        try:
            while self._queue:
                if batch := self._take():
                    await self._run_batch(batch)
        finally:
            self._runner = None
            QUEUED_ROWS.labels(self._task).dec(len(self._queue))
            for entry in (*batch, *self._queue):  # pending only when the runner itself was cancelled, at shutdown
                entry.future.cancel()
            self._queue.clear()

    async def _run_batch(self, batch: Sequence[QueuedRow[RowT, OutputT]]) -> None:
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        results = await loop.run_in_executor(self._executor, self._call, [entry.row for entry in batch])
        seconds = time.perf_counter() - started
        COMPUTE_SECONDS.labels(self._task).observe(seconds)
        BATCH_ROWS.labels(self._task).observe(len(batch))
        for entry, result in zip(batch, results, strict=True):
            entry.queue_seconds = started - entry.since
            entry.compute_seconds = seconds
            QUEUE_SECONDS.labels(self._task).observe(entry.queue_seconds)
            if entry.future.done():
                continue
            if isinstance(result, PredictionFailed):
                entry.future.set_exception(result)
            else:
                entry.future.set_result(result)

    def _take(self) -> list[QueuedRow[RowT, OutputT]]:
        """The longest prefix of the queue within the budget, without rows of callers who left, sorted by cost."""
        batch: list[QueuedRow[RowT, OutputT]] = []
        largest, length_before = 0, len(self._queue)
        while self._queue and len(batch) < self._rows:
            entry = self._queue[0]
            if not entry.future.done():
                largest = max(largest, entry.cost)
                if batch and largest * (len(batch) + 1) > self._budget:
                    break
                batch.append(entry)
            self._queue.popleft()
        QUEUED_ROWS.labels(self._task).dec(length_before - len(self._queue))
        batch.sort(key=lambda entry: entry.cost)
        return batch

    def _call(self, rows: Sequence[RowT]) -> list[OutputT | PredictionFailed]:
        """One result a row; runs on the executor. A batch that fails is halved until the faulty row is alone."""
        try:
            outputs = list(self._run(rows))
            if len(outputs) != len(rows):
                raise PredictionFailed(f"The model returned {len(outputs)} outputs for {len(rows)} rows.")
            return list(outputs)
        except Exception as error:
            if len(rows) == 1:
                if isinstance(error, NoFinitePrediction):  # the row's own fault, and no event for the log
                    return [error]
                log.error("%s: the model failed on one row: %s", self._task, type(error).__name__)
                return [PredictionFailed()]
        middle = len(rows) // 2
        return self._call(rows[:middle]) + self._call(rows[middle:])
