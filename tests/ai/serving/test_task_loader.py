"""One task's loaded versions: which are dropped, which loads are shared, and when a failed load is tried again."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from sklearn.pipeline import Pipeline

from ai_api.errors import ModelRefused, NoChampion, Overloaded, RegistryUnavailable, UnknownVersion
from ai_api.inference import ModelOutput
from ai_api.registry.champion_alias import ChampionAlias
from ai_api.registry.registry import Registry
from ai_api.registry.versions import LoadedModel, Version
from ai_api.serving.task_loader import LONGEST_PAUSE_SECONDS, BatchLimits, FailedLoad, RefusedVersion, TaskLoader
from ai_api.task import Kind, Recipe, Row, Task
from tests.ai.support.memory_registry import MemoryRegistry
from tests.ai.support.models import REGISTERED_AT

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

    def load(self, version: Version) -> LoadedModel:
        self.began.set()
        assert self.gate.wait(10)
        return super().load(version)


TASK = Task(
    name="sums", kind=Kind.REGRESSION, row=Number, metric="rmse", margin=0.1,
    load=lambda source: (_ for _ in ()).throw(AssertionError("no data are read here")), recipes=(Recipe("sum"),),
)  # fmt: skip


def model(
    number: int, off_by: float = 0.0, *, digest: str = "", registered_at: datetime = REGISTERED_AT
) -> LoadedModel:
    version = Version(
        task="sums", number=number, run_id="r", recipe="sum", created_at=datetime.now(UTC), aliases=(), metrics={},
        labels=None, synthetic=False, row_version=1, data_hash="", digest=digest or f"digest {number}",
        registered_at=registered_at,
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


def version(registry: MemoryRegistry, number: int) -> Version:
    return registry.models[number].version


def at(number: int | None) -> ChampionAlias:
    """The alias at this version."""
    return ChampionAlias(number, number, None, REGISTERED_AT)


async def begun(registry: SlowRegistry) -> None:
    """Returns once a load has begun."""
    assert await asyncio.to_thread(registry.began.wait, 10)


async def test_the_version_that_was_requested_longest_ago_is_dropped(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    for number in (2, 3, 2, 4):
        assert (await loader.get(number)).number == number
    assert loader.pinned == {"digest 2", "digest 4"}
    assert registry.loads == [2, 3, 4]


@pytest.mark.parametrize("version", ["000000000019", "111111111111", "0", str(2**31)])
async def test_digits_that_are_no_version_are_unknown(loader: TaskLoader, version: str) -> None:
    with pytest.raises(UnknownVersion):
        await loader.get(version)


async def test_the_champion_is_returned_by_its_number_and_does_not_count_among_the_kept_versions(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    await loader.swap(version(registry, 1))
    assert await loader.get(1) is await loader.get() is await loader.get("champion") is await loader.get("1")
    assert loader.pinned == set()
    assert registry.loads == [1]


async def test_a_swap_returns_the_versions_whose_files_are_still_needed(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    assert await loader.swap(version(registry, 1)) == {"digest 1"}
    await loader.get(3)
    assert await loader.swap(version(registry, 2)) == {"digest 1", "digest 2", "digest 3"}


async def test_a_requested_version_that_becomes_champion_is_not_loaded_again(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    await loader.swap(version(registry, 1))
    requested = await loader.get(2)
    assert await loader.swap(version(registry, 2)) == {"digest 1", "digest 2"}
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
        assert await loader.swap(version(registry, 2)) is None
        assert loader.failed is not None
        pauses.append(loader.failed.pause)
        assert loader.failed.retry_at >= before + loader.failed.pause
        loader.failed = replace(loader.failed, retry_at=0.0)
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]
    assert await loader.swap(version(registry, 3)) is None
    other = loader.failed
    assert other is not None
    assert (other.digest, other.pause) == ("digest 3", 1)


async def test_a_version_that_failed_to_load_waits_for_its_pause_and_no_other_version_does(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    loader.failed = FailedLoad("digest 2", 1.0, time.monotonic() + 60)
    assert await loader.swap(version(registry, 2)) is None
    assert registry.loads == []
    assert await loader.swap(version(registry, 3)) == {"digest 3"}
    loader.failed = FailedLoad("digest 2", 1.0, time.monotonic() - 1)
    assert await loader.swap(version(registry, 2)) == {"digest 2", "digest 3"}
    assert loader.failed is None


async def test_a_refused_version_is_not_tried_again_until_the_alias_has_moved(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    await loader.swap(version(registry, 1))
    registry.add(model(2, off_by=1.0))
    assert await loader.swap(version(registry, 2)) is None
    refused = loader.refused
    assert isinstance(refused, RefusedVersion)
    assert refused.number == 2
    assert loader.failed is None
    assert loader.champion is not None
    assert loader.champion.number == 1
    assert not loader.should_swap(at(2))
    assert loader.should_swap(at(3))
    assert not loader.should_swap(at(1))
    assert loader.refused is None, "the alias is back at the version that serves"
    assert loader.should_swap(at(2))


async def test_a_refusal_ends_when_the_task_has_no_champion_any_more(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    registry.add(model(2, off_by=1.0))
    await loader.swap(version(registry, 2))
    refused = loader.refused
    assert refused is not None
    assert not loader.should_swap(at(None))
    assert loader.refused is None


async def test_a_swap_to_another_version_ends_the_refusal(loader: TaskLoader, registry: SlowRegistry) -> None:
    registry.add(model(2, off_by=1.0))
    await loader.swap(version(registry, 2))
    assert await loader.swap(version(registry, 3)) == {"digest 3"}
    assert loader.refused is None


async def test_while_the_registry_is_away_a_version_is_neither_refused_nor_paused(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    registry.is_away = True
    assert await loader.swap(version(registry, 2)) is None
    assert (loader.refused, loader.failed) == (None, None)
    assert loader.should_swap(at(2))


async def test_the_queue_of_a_version_has_the_limits_of_the_loader(loader: TaskLoader) -> None:
    live = await loader.get(2)
    rows = [Number(x=float(x)) for x in range(4)]
    with pytest.raises(Overloaded):
        await live.batcher.submit(rows)
    assert (await live.batcher.submit(rows[:3])).outputs == [{"value": 2.0}, {"value": 3.0}, {"value": 4.0}]


async def test_a_model_made_anew_under_the_same_number_is_another_version(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    loader.notice(REGISTERED_AT)
    await loader.swap(version(registry, 1))
    pinned = await loader.get(2)
    later = REGISTERED_AT + timedelta(days=1)
    registry.models = {n: model(n, digest=f"new {n}", registered_at=later) for n in (1, 2)}
    alias = ChampionAlias(1, 1, None, later)
    loader.notice(later)
    assert loader.should_swap(alias)
    again = await loader.get(2)
    assert again is not pinned
    assert again.digest == "new 2"
    assert await loader.swap(version(registry, 1)) == {"new 1", "new 2", "digest 2", "digest 1"}
    assert loader.champion is not None
    assert loader.champion.digest == "new 1"
    assert not loader.should_swap(alias)


async def test_a_pinned_object_of_the_same_number_is_not_reused_for_a_model_made_anew(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    await loader.get(2)
    registry.add(model(2, digest="new 2", registered_at=REGISTERED_AT + timedelta(days=1)))
    assert await loader.swap(version(registry, 2)) == {"new 2", "digest 2"}
    assert registry.loads == [2, 2]


async def test_a_version_without_a_signature_is_refused_until_it_has_one(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    registry.unsigned = {"digest 2"}
    assert await loader.swap(version(registry, 2)) is None
    assert loader.refused is not None
    assert "ai-api versions sign" in loader.refused.reason
    with pytest.raises(ModelRefused):
        await loader.get(2)
    assert loader.should_swap(at(2))
    registry.unsigned.clear()
    assert await loader.swap(version(registry, 2)) == {"digest 2"}


async def test_versions_in_memory_stop_serving_when_their_key_is_revoked(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    await loader.swap(version(registry, 1))
    await loader.get(2)
    await loader.get(3)
    registry.unsigned = {"digest 1", "digest 2"}
    await loader.drop_unsigned()
    assert loader.champion is None
    assert loader.pinned == {"digest 3"}
    with pytest.raises(NoChampion):
        await loader.get()


async def test_a_version_of_the_cache_is_returned_by_its_number_while_mlflow_is_away(
    loader: TaskLoader, registry: SlowRegistry
) -> None:
    registry.is_away, registry.cached_numbers = True, {2}
    assert (await loader.get(2)).number == 2
    with pytest.raises(RegistryUnavailable):
        await loader.get(3)
