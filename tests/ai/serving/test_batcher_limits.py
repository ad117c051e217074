"""The batcher keeps to its row limit, and reports the longest wait and computation of a request."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest
from prometheus_client import REGISTRY

from ai_api.errors import PredictionFailed
from ai_api.serving.batcher import Batcher

pytestmark = pytest.mark.anyio


class TimedModel:
    """Returns its rows, and keeps the rows, start and end of each call. A call lasts at least 20 ms."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[int], float, float]] = []

    def __call__(self, rows: Sequence[int]) -> list[int]:
        start = time.perf_counter()
        time.sleep(0.02)
        self.calls.append((list(rows), start, time.perf_counter()))
        return list(rows)


def batcher_of(model: TimedModel, *, rows: int, budget: int = 1_000, capacity: int = 100) -> Batcher[int, int]:
    return Batcher(model, task="timed", cost=lambda row: row, budget=budget, rows=rows, capacity=capacity)


async def test_a_batch_has_at_most_as_many_rows_as_allowed() -> None:
    model = TimedModel()
    await batcher_of(model, rows=2).submit([1, 1, 1, 1, 1])
    assert [len(rows) for rows, _, _ in model.calls] == [2, 2, 1]


async def test_a_batch_is_filled_up_to_the_budget_of_padded_cost() -> None:
    model = TimedModel()
    await batcher_of(model, rows=10, budget=8).submit([4, 4, 4, 3, 1, 9])
    assert [rows for rows, _, _ in model.calls] == [[4, 4], [3, 4], [1], [9]]


async def test_as_many_rows_as_there_are_places_are_queued() -> None:
    assert (await batcher_of(TimedModel(), rows=10, capacity=3).submit([1, 2, 3])).outputs == [1, 2, 3]


async def test_the_wait_and_the_computation_of_a_request_are_the_longest_of_its_rows() -> None:
    model = TimedModel()
    result = await batcher_of(model, rows=1).submit([1, 2])
    (_, start, end), (_, second_start, second_end) = model.calls
    assert result.queue_seconds >= end - start, "the second row waits while the first is computed"
    assert result.compute_seconds >= max(end - start, second_end - second_start)


async def test_the_wait_of_a_row_ends_when_its_computation_starts() -> None:
    model = TimedModel()
    before = time.perf_counter()
    result = await batcher_of(model, rows=1).submit([1])
    total = time.perf_counter() - before
    assert result.queue_seconds > 0
    assert result.queue_seconds + result.compute_seconds <= total


async def test_rows_of_one_request_that_failed_are_not_computed_for_it_any_more() -> None:
    def fail_on_one(rows: Sequence[int]) -> list[int]:
        computed.append(list(rows))
        if 1 in rows:
            raise ValueError
        return list(rows)

    computed: list[list[int]] = []
    batcher = Batcher(fail_on_one, task="timed", cost=lambda row: row, budget=1_000, rows=1, capacity=100)
    requests = batcher.submit(range(1, 21)), batcher.submit([30])
    outcome, other = await asyncio.gather(*requests, return_exceptions=True)
    assert isinstance(outcome, PredictionFailed)
    assert getattr(other, "outputs", other) == [30]
    assert [20] not in computed


def queued_rows() -> float:
    """The gauge of waiting rows."""
    return REGISTRY.get_sample_value("volant_queued_rows", {"task": "timed"}) or 0.0


async def test_a_batcher_goes_on_after_its_queue_was_empty() -> None:
    batcher = batcher_of(TimedModel(), rows=10)
    for row in (1, 2, 3):
        assert (await asyncio.wait_for(batcher.submit([row]), 10)).outputs == [row]


async def test_the_gauge_counts_the_rows_that_wait() -> None:
    gate = threading.Event()

    def wait(rows: Sequence[int]) -> list[int]:
        assert gate.wait(10)
        return list(rows)

    before = queued_rows()
    batcher = Batcher(wait, task="timed", cost=lambda row: row, budget=1_000, rows=2, capacity=100)
    request = asyncio.create_task(batcher.submit([1, 2, 3, 4, 5]))
    async with asyncio.timeout(10):
        while len(batcher) != 3:
            await asyncio.sleep(0)
    assert queued_rows() == before + 3
    gate.set()
    await request
    assert queued_rows() == before


async def test_requests_that_wait_end_when_the_batcher_is_cancelled() -> None:
    gate = threading.Event()

    def wait(rows: Sequence[int]) -> list[int]:
        assert gate.wait(10)
        return list(rows)

    before = queued_rows()
    batcher = Batcher(wait, task="timed", cost=lambda row: row, budget=1_000, rows=1, capacity=100)
    first = asyncio.create_task(batcher.submit([1]))
    async with asyncio.timeout(10):
        while batcher._runner is None or len(batcher):
            await asyncio.sleep(0)
    waiting = asyncio.create_task(batcher.submit([2]))
    await asyncio.sleep(0)
    batcher._runner.cancel()
    for request in (first, waiting):
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(request, 10)
    assert (len(batcher), queued_rows()) == (0, before)
    gate.set()
    await asyncio.gather(first, return_exceptions=True)
