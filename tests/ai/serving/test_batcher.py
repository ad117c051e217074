"""Rows of many callers share batches, and a failed or cancelled row never affects the others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_api.errors import Overloaded, PredictionFailed
from ai_api.serving.batcher import Batcher

pytestmark = pytest.mark.anyio


class Tenfold:
    """A model that multiplies by ten, records its calls, and fails on the row 13. It waits while `gate` is cleared."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, rows: Sequence[int]) -> list[int]:
        self.calls.append(list(rows))
        assert self.gate.wait(10)
        if 13 in rows:
            raise ValueError("thirteen")
        return [row * 10 for row in rows]


def batcher_of(model: Tenfold, *, budget: int = 1_000, rows: int = 100, capacity: int = 100) -> Batcher[int, int]:
    return Batcher(model, task="tens", cost=lambda row: row, budget=budget, rows=rows, capacity=capacity)


async def until_called(model: Tenfold, times: int = 1) -> None:
    async with asyncio.timeout(5):
        while len(model.calls) < times:
            await asyncio.sleep(0)


async def test_a_lone_row_is_computed_at_once() -> None:
    model = Tenfold()
    result = await asyncio.wait_for(batcher_of(model).submit([4]), 5)
    assert result.outputs == [40]
    assert model.calls == [[4]]


async def test_rows_that_arrive_while_the_model_is_busy_go_into_one_call_sorted_by_cost() -> None:
    model = Tenfold()
    batcher = batcher_of(model)
    model.gate.clear()
    first = asyncio.create_task(batcher.submit([1]))
    await until_called(model)
    others = [asyncio.create_task(batcher.submit([row])) for row in (9, 3, 7)]
    await asyncio.sleep(0)
    model.gate.set()
    assert [(await task).outputs for task in (first, *others)] == [[10], [90], [30], [70]]
    assert model.calls == [[1], [3, 7, 9]]


async def test_a_call_stays_within_the_budget_of_padded_cost() -> None:
    model = Tenfold()
    result = await batcher_of(model, budget=20).submit([8, 8, 8, 30, 1])
    assert result.outputs == [80, 80, 80, 300, 10]
    assert all(len(call) == 1 or max(call) * len(call) <= 20 for call in model.calls)


async def test_a_cancelled_request_does_not_affect_other_rows() -> None:
    model = Tenfold()
    batcher = batcher_of(model)
    model.gate.clear()
    busy = asyncio.create_task(batcher.submit([1]))
    await until_called(model)
    first, second = asyncio.create_task(batcher.submit([2])), asyncio.create_task(batcher.submit([3]))
    await asyncio.sleep(0)
    first.cancel()
    model.gate.set()
    assert (await asyncio.wait_for(second, 5)).outputs == [30]
    assert (await busy).outputs == [10]
    assert first.cancelled()
    assert model.calls == [[1], [3]], "a cancelled row is not computed"


async def test_a_request_cancelled_during_the_call_does_not_affect_other_rows() -> None:
    model = Tenfold()
    batcher = batcher_of(model)
    model.gate.clear()
    first, second = asyncio.create_task(batcher.submit([2])), asyncio.create_task(batcher.submit([3]))
    await until_called(model)
    first.cancel()
    model.gate.set()
    assert (await asyncio.wait_for(second, 5)).outputs == [30]


async def test_a_row_that_makes_the_model_fail_fails_alone() -> None:
    batcher = batcher_of(Tenfold())
    outcomes = await asyncio.gather(*(batcher.submit([row]) for row in (1, 13, 2, 3)), return_exceptions=True)
    outputs = [outcome.outputs if not isinstance(outcome, BaseException) else outcome for outcome in outcomes]
    assert [outputs[0], outputs[2], outputs[3]] == [[10], [20], [30]]
    assert isinstance(outputs[1], PredictionFailed)


async def test_a_request_that_exceeds_the_capacity_is_refused_at_once_and_none_of_its_rows_is_queued() -> None:
    model = Tenfold()
    batcher = batcher_of(model, capacity=2)
    model.gate.clear()
    busy = asyncio.create_task(batcher.submit([1]))
    await until_called(model)
    waiting = asyncio.create_task(batcher.submit([2]))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await batcher.submit([3, 4])
    assert len(batcher) == 1
    model.gate.set()
    assert (await waiting).outputs == [20]
    assert (await busy).outputs == [10]


async def test_a_model_that_returns_too_few_outputs_fails() -> None:
    batcher = Batcher[int, int](lambda rows: [], task="none", cost=lambda _: 1, budget=9, rows=9, capacity=9)
    with pytest.raises(PredictionFailed):
        await batcher.submit([1, 2])


@settings(max_examples=50, deadline=None)
@given(
    requests=st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=8), min_size=1, max_size=8),
    budget=st.integers(1, 200),
)
def test_outputs_of_a_batch_equal_those_of_single_rows(requests: list[list[int]], budget: int) -> None:
    async def together() -> list[object]:
        batcher = batcher_of(Tenfold(), budget=budget, rows=5)
        return list(await asyncio.gather(*(batcher.submit(rows) for rows in requests), return_exceptions=True))

    for rows, outcome in zip(requests, asyncio.run(together()), strict=True):
        if 13 in rows:
            assert isinstance(outcome, PredictionFailed)
        else:
            assert getattr(outcome, "outputs", outcome) == [row * 10 for row in rows]
