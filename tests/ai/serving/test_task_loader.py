"""One task's loaded versions: which are dropped, which loads are shared, and when a failed load is tried again."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import cast

import pytest
from sklearn.pipeline import Pipeline

from ai_api.errors import Overloaded, UnknownVersion
from ai_api.inference import ModelOutput
from ai_api.registry.registry import Registry
from ai_api.registry.versions import LoadedModel, Version
from ai_api.serving.task_loader import LONGEST_PAUSE_SECONDS, BatchLimits, FailedLoad, RefusedVersion, TaskLoader
from ai_api.task import Kind, Recipe, Row, Task
from tests.ai.support.memory_registry import MemoryRegistry

pytestmark = pytest.mark.anyio


class Number(Row):
    """One number."""

    x: float


class SumModel(LoadedModel):
    """Adds its version's number to x."""

    def predict(self, rows: Sequence[Mapping[str, object]]) -> list[ModelOutput]:
        return [{"value": float(str(row["x"])) + self.version.number} for row in rows]


class SlowRegistry(MemoryRegistry):
    """Loads wait for `gate`."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Event()

    def load(self, task: str, number: int) -> LoadedModel:
        self.began.set()
        assert self.gate.wait(10)
        return super().load(task, number)


TASK = Task(
    name="sums", kind=Kind.REGRESSION, row=Number, metric="rmse", margin=0.1,
    load=lambda source: (_ for _ in ()).throw(AssertionError("no data are read here")), recipes=(Recipe("sum"),),
)  # fmt: skip


def model(number: int, off_by: float = 0.0) -> LoadedModel:
    version = Version(
        task="sums", number=number, run_id="r", recipe="sum", created_at=datetime.now(UTC), aliases=(), metrics={},
        labels=None, synthetic=False, row_version=1, data_hash="", digest="",
    )  # fmt: skip
    sample: list[tuple[dict[str, object], ModelOutput]] = [({"x": 1.0}, {"value": 1.0 + number + off_by})]
    return SumModel(version, cast("Pipeline", None), columns={}, schema={}, sample=sample)


@pytest.fixture
def registry() -> SlowRegistry:
    """Versions 1 to 5."""
    made = SlowRegistry()
    for number in range(1, 6):
        made.add(model(number))
    return made


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def loader(registry: SlowRegistry, executor: ThreadPoolExecutor) -> TaskLoader:
    return TaskLoader(TASK, cast("Registry", registry), BatchLimits(10, 10, 3), executor=executor, keep=2)


async def begun(registry: SlowRegistry) -> None:
    """Returns once a load has begun."""
    assert await asyncio.to_thread(registry.began.wait, 10)


async def test_the_version_that_was_requested_longest_ago_is_dropped(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    for number in (2, 3, 2, 4):
        assert (await loader.get(number)).number == number
    assert loader.pinned == {2, 4}
    assert registry.loads == [2, 3, 4]


@pytest.mark.parametrize("version", ["000000000019", "111111111111", "0", str(2**31)])
async def test_digits_that_are_no_version_are_unknown(loader: TaskLoader, version: str) -> None:
    with pytest.raises(UnknownVersion):
        await loader.get(version)


async def test_the_champion_is_returned_by_its_number_and_does_not_count_among_the_kept_versions(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    await loader.swap(1)
    assert await loader.get(1) is await loader.get() is await loader.get("champion") is await loader.get("1")
    assert loader.pinned == set()
    assert registry.loads == [1]


async def test_a_swap_returns_the_versions_whose_files_are_still_needed(loader: TaskLoader) -> None:
    assert await loader.swap(1) == {1}
    await loader.get(3)
    assert await loader.swap(2) == {1, 2, 3}


async def test_a_requested_version_that_becomes_champion_is_not_loaded_again(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    await loader.swap(1)
    requested = await loader.get(2)
    assert await loader.swap(2) == {1, 2}
    assert loader.champion is requested
    assert loader.pinned == set()
    assert registry.loads == [1, 2]


async def test_requests_for_one_version_share_its_load_and_another_version_is_refused_meanwhile(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    registry.gate.clear()
    first, second = (asyncio.create_task(loader.get(2)) for _ in range(2))
    await begun(registry)
    with pytest.raises(Overloaded):
        await loader.get(3)
    registry.gate.set()
    assert await first is await second
    assert registry.loads == [2]
    assert (await loader.get(3)).number == 3


async def test_a_cancelled_request_does_not_cancel_a_load_that_others_wait_for(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    registry.gate.clear()
    first, second = (asyncio.create_task(loader.get(2)) for _ in range(2))
    await begun(registry)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    registry.gate.set()
    assert (await asyncio.wait_for(second, 10)).number == 2
    assert registry.loads == [2]


async def test_the_pause_after_failed_loads_doubles_up_to_the_longest(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    registry.is_disk_full = True
    pauses = []
    for _ in range(8):
        before = time.monotonic()
        assert await loader.swap(2) is None
        assert loader.failed is not None
        pauses.append(loader.failed.pause)
        assert loader.failed.retry_at >= before + loader.failed.pause
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]
    assert await loader.swap(3) is None
    other = loader.failed
    assert other is not None
    assert (other.number, other.pause) == (3, 1)


async def test_a_version_that_failed_to_load_waits_for_its_pause_and_no_other_version_does(loader: TaskLoader) -> None:
    loader.failed = FailedLoad(2, 1.0, time.monotonic() + 60)
    assert not loader.should_swap(2)
    assert loader.should_swap(3)
    loader.failed = FailedLoad(2, 1.0, time.monotonic() - 1)
    assert loader.should_swap(2)
    assert await loader.swap(2) == {2}
    assert loader.failed is None


async def test_a_refused_version_is_not_tried_again_until_the_alias_has_moved(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    await loader.swap(1)
    registry.add(model(2, off_by=1.0))
    assert await loader.swap(2) is None
    refused = loader.refused
    assert isinstance(refused, RefusedVersion)
    assert refused.number == 2
    assert loader.failed is None
    assert loader.champion is not None
    assert loader.champion.number == 1
    assert not loader.should_swap(2)
    assert loader.should_swap(3)
    assert not loader.should_swap(1)
    assert loader.refused is None, "the alias is back at the version that serves"
    assert loader.should_swap(2)


async def test_a_refusal_ends_when_the_task_has_no_champion_any_more(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    registry.add(model(2, off_by=1.0))
    await loader.swap(2)
    refused = loader.refused
    assert refused is not None
    assert not loader.should_swap(None)
    assert loader.refused is None


async def test_a_swap_to_another_version_ends_the_refusal(loader: TaskLoader, registry: SlowRegistry) -> None:
    registry.add(model(2, off_by=1.0))
    await loader.swap(2)
    assert await loader.swap(3) == {3}
    assert loader.refused is None


async def test_while_the_registry_is_away_a_version_is_neither_refused_nor_paused(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    registry.is_away = True
    assert await loader.swap(2) is None
    assert (loader.refused, loader.failed) == (None, None)
    assert loader.should_swap(2)


async def test_the_queue_of_a_version_has_the_limits_of_the_loader(loader: TaskLoader) -> None:
    live = await loader.get(2)
    rows = [Number(x=float(x)) for x in range(4)]
    with pytest.raises(Overloaded):
        await live.batcher.submit(rows)
    assert (await live.batcher.submit(rows[:3])).outputs == [{"value": 2.0}, {"value": 3.0}, {"value": 4.0}]
