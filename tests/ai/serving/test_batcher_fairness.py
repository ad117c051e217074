"""Callers share a model by the cost of their rows: nobody waits for all that another caller has queued."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from ai_api.errors import LimitReached, Overloaded
from ai_api.serving import batcher as batcher_module
from ai_api.serving.batcher import Batcher, Speed
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


class Gated:
    """A model that keeps its calls and waits in each while `gate` is cleared. Its rows are names."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.gate = threading.Event()

    def __call__(self, rows: Sequence[str]) -> list[str]:
        self.calls.append(list(rows))
        assert self.gate.wait(10)
        return list(rows)


def batcher_of(model: Gated, *, rows: int = 2, capacity: int = 1_000, share: int | None = None) -> Batcher[str, str]:
    return Batcher(model, task="fair", cost=cost_of, budget=1_000, rows=rows, capacity=capacity, share=share)


def cost_of(row: str) -> int:
    """The number after the name's last letter; 1 without one."""
    return int(row.lstrip("abcdefghijklmnopqrstuvwxyz") or 1)


async def queued(model: Gated, batcher: Batcher[str, str], requests: dict[str, list[str]]) -> list[str]:
    """The rows in the order in which the model gets them, when one call is running and all these requests wait."""
    busy = asyncio.create_task(batcher.submit(["x"], "busy"))
    await eventually(lambda: bool(model.calls))
    tasks = []
    for caller, rows in requests.items():
        tasks.append(asyncio.create_task(batcher.submit(rows, caller)))
        await asyncio.sleep(0)
    model.gate.set()
    for task, rows in zip(tasks, requests.values(), strict=True):
        assert (await task).outputs == rows
    await busy
    return [row for call in model.calls[1:] for row in call]


async def test_a_new_caller_is_next_however_many_rows_another_one_has_queued() -> None:
    model = Gated()
    order = await queued(model, batcher_of(model), {"ann": ["a"] * 500, "bob": ["b"]})
    assert order.index("b") < 2


async def test_callers_take_turns() -> None:
    model = Gated()
    order = await queued(model, batcher_of(model), {"ann": ["a"] * 6, "bob": ["b"] * 4, "eve": ["e"] * 2})
    assert [sorted(order[:3]), sorted(order[3:6])] == [["a", "b", "e"], ["a", "b", "e"]]
    assert sorted(order[6:]) == ["a", "a", "a", "a", "b", "b"]


async def test_a_caller_with_costly_rows_gets_fewer_of_them_into_each_call() -> None:
    model = Gated()
    order = await queued(model, batcher_of(model), {"ann": ["a30"] * 4, "bob": ["b10"] * 12})
    assert [order[start : start + 4].count("b10") for start in (0, 4, 8, 12)] == [3, 3, 3, 3]


async def test_the_rows_of_one_caller_keep_their_order() -> None:
    model = Gated()
    rows = [f"a{place}" for place in range(1, 30)]
    assert await queued(model, batcher_of(model), {"ann": rows}) == rows


async def test_one_caller_fills_only_a_share_of_the_queue() -> None:
    model = Gated()
    batcher = batcher_of(model, capacity=5, share=3)
    busy = asyncio.create_task(batcher.submit(["x"], "busy"))
    await eventually(lambda: bool(model.calls))
    waiting = [asyncio.create_task(batcher.submit(["a"] * 3, "ann"))]
    await asyncio.sleep(0)
    with pytest.raises(LimitReached, match="at most 3 of one caller"):
        await batcher.submit(["a"], "ann")
    waiting.append(asyncio.create_task(batcher.submit(["b"] * 2, "bob")))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await batcher.submit(["e"], "eve")
    model.gate.set()
    await asyncio.gather(busy, *waiting)
    assert (await batcher.submit(["a"] * 3, "ann")).outputs == ["a"] * 3


async def test_rows_of_a_cancelled_request_give_their_places_back_at_once() -> None:
    model = Gated()
    batcher = batcher_of(model, capacity=3)
    busy = asyncio.create_task(batcher.submit(["x"], "busy"))
    await eventually(lambda: bool(model.calls))
    left = asyncio.create_task(batcher.submit(["a"] * 3, "ann"))
    await asyncio.sleep(0)
    assert len(batcher) == 3
    left.cancel()
    await asyncio.wait({left})
    assert len(batcher) == 0
    again = asyncio.create_task(batcher.submit(["b"] * 3, "bob"))
    model.gate.set()
    assert (await again).outputs == ["b"] * 3
    await busy
    assert "a" not in [row for call in model.calls for row in call]


def test_the_speed_of_a_model_follows_its_latest_calls() -> None:
    speed = Speed()
    assert speed.cost_in(1) == float("inf")
    speed.add(100, 1)
    assert speed.cost_in(0.5) == 50
    for _ in range(100):
        speed.add(100, 10)
    assert speed.cost_in(1) == pytest.approx(10, rel=0.01)


async def test_a_call_has_no_more_cost_than_the_model_computes_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Gated()
    batcher = batcher_of(model, rows=100)
    monkeypatch.setattr(batcher_module.Speed, "cost_in", lambda *_: 5)
    model.gate.set()
    await batcher.submit(["a2"] * 5, "ann")
    assert [len(call) for call in model.calls] == [2, 2, 1]
    await batcher.submit(["a9", "a9"], "ann")
    assert [len(call) for call in model.calls[3:]] == [1, 1], "a costly row goes alone"
