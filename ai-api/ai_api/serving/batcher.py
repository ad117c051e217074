"""Waiting rows of many callers go into one call of a model.

There is no timer: a lone row never waits, and a busy model takes the rows that arrived meanwhile. A failed or cancelled
row never affects others in its batch.

Callers share the model by start-time fair queueing (Goyal, Vin and Cheng, 1996): of the callers who wait, the one who
was given the least cost is next, whatever the others have queued. A call of the model lasts about CALL_SECONDS at most,
so a new caller waits for the rest of one call and then for its own.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ai_api.errors import LimitReached, NoFinitePrediction, Overloaded, PredictionFailed
from ai_api.metrics import BATCH_ROWS, COMPUTE_SECONDS, QUEUE_SECONDS, QUEUED_ROWS, REFUSED

log = logging.getLogger(__name__)

CALL_SECONDS = 0.1
"""Duration of one call that a batch's cost is bounded for, by the speed of the latest calls."""
SMOOTHING = 0.9
"""Weight of the earlier calls beside the latest one."""

RowT = TypeVar("RowT")
OutputT = TypeVar("OutputT")


@dataclass(slots=True)
class QueuedRow(Generic[RowT, OutputT]):
    """One row in the queue, and the future that its caller awaits. `cost` is in the units of the batch budget."""

    row: RowT
    caller: str
    cost: int
    future: asyncio.Future[OutputT]
    is_waiting: bool = True
    since: float = field(default_factory=time.perf_counter)
    queue_seconds: float = 0.0
    compute_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class BatchResult(Generic[OutputT]):
    """The model outputs of one request in the order of its rows, with the longest wait and computation among them."""

    outputs: list[OutputT]
    queue_seconds: float
    compute_seconds: float


class Speed:
    """How much cost a model computes in a second, by its latest calls."""

    def __init__(self) -> None:
        self._cost = self._seconds = 0.0

    def add(self, cost: int, seconds: float) -> None:
        self._cost = SMOOTHING * self._cost + cost
        self._seconds = SMOOTHING * self._seconds + seconds

    def cost_in(self, seconds: float) -> float:
        """The cost that takes about that long; without limit before the first call."""
        return seconds * self._cost / self._seconds if self._seconds else math.inf


class Batcher(Generic[RowT, OutputT]):
    """The queue of one version.

    `run` takes rows, sorted by cost, and returns one output each in that order. It runs on `executor`, one call at a
    time. `budget` bounds a batch's padded cost (number of rows times the largest cost), `rows` its length, and
    `capacity` the length of the queue, of which one caller has at most `share`.
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
        share: int | None = None,
        executor: Executor | None = None,
    ) -> None:
        self._run = run
        self._task = task
        self._cost = cost
        self._budget = budget
        self._rows = rows
        self._capacity = capacity
        self._share = capacity if share is None else share
        self._executor = executor
        self._queue: list[tuple[int, int, QueuedRow[RowT, OutputT]]] = []
        """A heap of (start tag, arrival, row)."""
        self._waiting: Counter[str] = Counter()
        self._length = 0
        self._gauge = QUEUED_ROWS.labels(task)
        self._tag = self._arrivals = 0
        self._next_tags: dict[str, int] = {}
        """The start tag of each caller's next row."""
        self._speed = Speed()
        self._runner: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Rows in the queue; those that the model computes now are not counted."""
        return self._length

    async def submit(self, rows: Sequence[RowT], caller: str = "") -> BatchResult[OutputT]:
        """The outputs for `rows`. Either all rows are queued or none: Overloaded at once when they do not fit, and
        LimitReached when this caller has too many rows in the queue.

        PredictionFailed when the model fails on one of these rows. Rows of other callers have no influence.
        """
        self._admit(len(rows), caller)
        loop = asyncio.get_running_loop()
        queued = [QueuedRow[RowT, OutputT](row, caller, self._cost(row), loop.create_future()) for row in rows]
        self._enqueue(queued, caller)
        if self._runner is None:
            self._runner = loop.create_task(self._drain())
        try:
            outputs = await asyncio.gather(*(entry.future for entry in queued))
        finally:
            for entry in queued:  # the caller left, or one row failed: the other outputs have no reader
                entry.future.cancel()
                if entry.is_waiting:
                    self._leave(entry)
        return BatchResult(
            outputs,
            max((entry.queue_seconds for entry in queued), default=0.0),
            max((entry.compute_seconds for entry in queued), default=0.0),
        )

    def _admit(self, rows: int, caller: str) -> None:
        if self._length + rows > self._capacity:
            REFUSED.labels(self._task, "queue").inc(rows)
            raise Overloaded
        if self._waiting[caller] + rows > self._share:
            REFUSED.labels(self._task, "share").inc(rows)
            raise LimitReached(
                f"Too many of your rows are waiting: at most {self._share} of one caller. Wait for their predictions."
            )

    def _enqueue(self, queued: Sequence[QueuedRow[RowT, OutputT]], caller: str) -> None:
        tag = max(self._tag, self._next_tags.get(caller, 0))
        for entry in queued:
            self._arrivals += 1
            heapq.heappush(self._queue, (tag, self._arrivals, entry))
            tag += entry.cost
        self._next_tags[caller] = tag
        self._waiting[caller] += len(queued)
        self._length += len(queued)
        self._gauge.inc(len(queued))

    def _leave(self, entry: QueuedRow[RowT, OutputT]) -> None:
        """The row does not wait any more. Its place in the heap is skipped when it is reached."""
        entry.is_waiting = False
        self._waiting[entry.caller] -= 1
        if not self._waiting[entry.caller]:
            del self._waiting[entry.caller]
        self._length -= 1
        self._gauge.dec()

    async def _drain(self) -> None:
        """Runs batches until the queue is empty."""
        batch: list[QueuedRow[RowT, OutputT]] = []
        try:
            while self._queue:
                if batch := self._take():
                    await self._run_batch(batch)
        finally:
            self._runner = None
            for _, _, entry in self._queue:  # not empty only when the runner itself was cancelled, at shutdown
                entry.future.cancel()
                if entry.is_waiting:
                    self._leave(entry)
            for entry in batch:
                entry.future.cancel()
            self._queue.clear()
            self._next_tags.clear()
            self._tag = 0

    async def _run_batch(self, batch: Sequence[QueuedRow[RowT, OutputT]]) -> None:
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        results = await loop.run_in_executor(self._executor, self._call, [entry.row for entry in batch])
        seconds = time.perf_counter() - started
        self._speed.add(sum(entry.cost for entry in batch), seconds)
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
        """The rows that are next within the budget, without those of callers who left, sorted by cost."""
        batch: list[QueuedRow[RowT, OutputT]] = []
        largest, total, most = 0, 0, self._speed.cost_in(CALL_SECONDS)
        while self._queue and len(batch) < self._rows:
            tag, _, entry = self._queue[0]
            if entry.is_waiting:
                largest, total = max(largest, entry.cost), total + entry.cost
                if batch and (largest * (len(batch) + 1) > self._budget or total > most):
                    break
                batch.append(entry)
                self._leave(entry)
                self._tag = tag
            heapq.heappop(self._queue)
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
