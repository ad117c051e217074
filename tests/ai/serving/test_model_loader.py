"""A new version is checked before it takes over; the old one serves until then, and stays when the check fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from sklearn.pipeline import Pipeline

from ai_api.errors import NoChampion, UnknownTask, UnknownVersion
from ai_api.inference import ModelOutput
from ai_api.registry.registry import Registry
from ai_api.registry.versions import LoadedModel, Version
from ai_api.serving.model_check import agree
from ai_api.serving.model_loader import ModelLoader
from ai_api.serving.task_loader import BatchLimits
from ai_api.task import Kind, Recipe, Row, Task
from tests.ai.support.memory_registry import MemoryRegistry
from tests.ai.support.models import REGISTERED_AT
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


class Number(Row):
    """One number."""

    x: float


class SumModel(LoadedModel):
    """Adds its version's number to x."""

    def predict(self, rows: Sequence[Mapping[str, object]]) -> list[ModelOutput]:
        return [{"value": float(str(row["x"])) + self.version.number} for row in rows]


class BrokenModel(LoadedModel):
    """Fails on every row."""

    def predict(self, rows: Sequence[Mapping[str, object]]) -> list[ModelOutput]:
        raise ValueError("broken")


def version(number: int, row_version: int = 1) -> Version:
    return Version(
        task="sums", number=number, run_id="r", recipe="sum", created_at=datetime.now(UTC), aliases=(), metrics={},
        labels=None, synthetic=False, row_version=row_version, data_hash="", digest=f"digest {number}",
        registered_at=REGISTERED_AT,
    )  # fmt: skip


def model(number: int, kind: type[LoadedModel] = SumModel, off_by: float = 0.0, row_version: int = 1) -> LoadedModel:
    sample: list[tuple[dict[str, object], ModelOutput]] = [({"x": 1.0}, {"value": 1.0 + number + off_by})]
    return kind(version(number, row_version), cast("Pipeline", None), columns={}, schema={}, sample=sample)


SUMS = Task(
    name="sums", kind=Kind.REGRESSION, row=Number, metric="rmse", margin=0.1,
    load=lambda source: (_ for _ in ()).throw(AssertionError("not loaded here")), recipes=(Recipe("sum"),),
)  # fmt: skip


@asynccontextmanager
async def running(
    registry: MemoryRegistry, state_file: Path, keep: int = 1, moves: list[str] | None = None
) -> AsyncIterator[ModelLoader]:
    moves = [] if moves is None else moves
    with ThreadPoolExecutor(1) as executor:
        loader = ModelLoader(
            {"sums": SUMS},
            cast("Registry", registry),
            state_file,
            BatchLimits(10, 10, 10),
            executor=executor,
            watch_seconds=0.01,
            keep=keep,
            record_move=moves.append,
        )
        task = asyncio.create_task(loader.run())
        try:
            yield loader
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def predict(loader: ModelLoader, wanted: int | str | None = None) -> float:
    live = await loader.get("sums", wanted)
    (output,) = (await live.batcher.submit([Number(x=1)])).outputs
    return float(str(output["value"]))


def serves(loader: ModelLoader, number: int) -> Callable[[], bool]:
    return lambda: (live := loader.serving("sums")) is not None and live.number == number


async def test_nothing_serves_before_a_first_promotion(tmp_path: Path) -> None:
    async with running(MemoryRegistry(), tmp_path / "champions.json") as loader:
        with pytest.raises(NoChampion):
            await loader.get("sums")


async def test_a_champion_counts_as_loading_until_the_registry_was_asked(tmp_path: Path) -> None:
    registry = MemoryRegistry()
    async with running(registry, tmp_path / "champions.json") as loader:
        assert loader.is_loading("sums"), "the registry was not asked yet"
        await eventually(lambda: not loader.is_loading("sums"))
    registry.add(model(3), champion=True)
    async with running(registry, tmp_path / "champions.json") as loader:
        await eventually(lambda: not loader.is_loading("sums"))
        assert serves(loader, 3)()
        with pytest.raises(UnknownTask):
            await loader.get("quotients")


async def test_the_champion_of_the_registry_takes_over_and_the_old_one_finishes_its_requests(tmp_path: Path) -> None:
    registry = MemoryRegistry()
    registry.models, registry.aliases["sums"] = {1: model(1), 2: model(2)}, 1
    async with running(registry, tmp_path / "champions.json") as loader:
        await eventually(serves(loader, 1))
        old = await loader.get("sums")
        registry.aliases["sums"] = 2
        await eventually(serves(loader, 2))
        assert await predict(loader) == 3.0
        assert (await old.batcher.submit([Number(x=1)])).outputs == [{"value": 2.0}]


@pytest.mark.parametrize(
    "bad",
    [model(2, BrokenModel), model(2, off_by=0.5), model(2, row_version=9)],
    ids=["fails", "other predictions", "old rows"],
)
async def test_a_version_that_fails_its_check_does_not_serve_and_the_reason_is_kept(
    tmp_path: Path, bad: LoadedModel
) -> None:
    registry = MemoryRegistry()
    registry.models, registry.aliases["sums"] = {1: model(1), 2: bad}, 1
    async with running(registry, tmp_path / "champions.json") as loader:
        await eventually(serves(loader, 1))
        registry.aliases["sums"] = 2
        await eventually(lambda: loader.refused("sums") is not None)
        assert await predict(loader) == 2.0
        refused = loader.refused("sums")
        assert refused is not None
        assert refused.number == 2
        loads = len(registry.loads)
        registry.aliases["sums"] = 1
        await eventually(lambda: loader.refused("sums") is None)
        assert len(registry.loads) == loads, "a refused version is not loaded again"


async def test_the_last_champion_serves_after_a_restart_while_the_registry_is_away(tmp_path: Path) -> None:
    registry = MemoryRegistry()
    registry.models, registry.aliases["sums"] = {1: model(1)}, 1
    async with running(registry, tmp_path / "champions.json") as loader:
        await eventually(serves(loader, 1))
        await eventually(lambda: (tmp_path / "champions.json").exists())
    registry.is_away, registry.cached_numbers = True, {1}
    async with running(registry, tmp_path / "champions.json") as loader:
        await eventually(serves(loader, 1))
        assert loader.registry_responds is False


async def test_a_version_that_cannot_be_fetched_yet_is_tried_again(tmp_path: Path) -> None:
    registry = MemoryRegistry()
    (tmp_path / "champions.json").write_text('{"sums": "digest 1", "gone": "digest 3"}')
    registry.is_away, registry.models, registry.aliases["sums"] = True, {1: model(1)}, 1
    async with running(registry, tmp_path / "champions.json") as loader:
        await asyncio.sleep(0)
        registry.is_away = False
        await eventually(serves(loader, 1))


async def test_a_version_that_cannot_be_loaded_for_lack_of_disk_is_not_refused_but_tried_again(tmp_path: Path) -> None:
    registry = MemoryRegistry()
    registry.models, registry.aliases["sums"], registry.is_disk_full = {1: model(1)}, 1, True
    async with running(registry, tmp_path / "champions.json") as loader:
        await eventually(lambda: loader._loaders["sums"].failed is not None)
        assert loader.refused("sums") is None
        registry.is_disk_full = False
        await eventually(serves(loader, 1))
        await eventually(lambda: registry.kept == {"digest 1"})


@pytest.mark.parametrize("wanted", ["²", "9" * 5_000, -1, 10**400, 0, "9"])
async def test_a_version_number_that_cannot_exist_is_unknown(tmp_path: Path, wanted: int | str) -> None:
    async with running(MemoryRegistry(), tmp_path / "champions.json") as loader:
        with pytest.raises(UnknownVersion):
            await loader.get("sums", wanted)


async def test_other_versions_predict_by_number_and_only_the_last_few_stay_loaded(tmp_path: Path) -> None:
    registry = MemoryRegistry()
    registry.models, registry.aliases["sums"] = {number: model(number) for number in (1, 2, 3)}, 1
    async with running(registry, tmp_path / "champions.json", keep=1) as loader:
        await eventually(serves(loader, 1))
        assert [await predict(loader, 2), await predict(loader, "3"), await predict(loader, 1)] == [3.0, 4.0, 2.0]
        assert await predict(loader, 2) == 3.0
        assert registry.loads == [1, 2, 3, 2]
        with pytest.raises(UnknownVersion):
            await loader.get("sums", 9)


def test_outputs_agree_when_they_differ_by_rounding_only() -> None:
    sure = {"label": "a", "score": 0.9, "probabilities": {"a": 0.9, "b": 0.1}}
    tie = {"label": "a", "score": 0.501, "probabilities": {"a": 0.501, "b": 0.499}}
    other_side = {"label": "b", "score": 0.501, "probabilities": {"a": 0.499, "b": 0.501}}
    assert agree(sure, sure)
    assert agree(tie, other_side)
    assert not agree(sure, tie)
    assert not agree(sure, {"label": "a", "score": 0.9, "probabilities": {"a": 0.9, "c": 0.1}})
    assert agree({"value": 100.0}, {"value": 100.05})
    assert not agree({"value": 100.0}, {"value": 101.0})


async def test_a_champion_that_was_moved_in_mlflow_serves_and_is_recorded_once(tmp_path: Path) -> None:
    registry, moves = MemoryRegistry(), list[str]()
    registry.models, registry.aliases["sums"] = {1: model(1), 2: model(2)}, 1
    async with running(registry, tmp_path / "champions.json", moves=moves) as loader:
        await eventually(serves(loader, 1))
        registry.recorded["sums"], registry.aliases["sums"] = 1, 2
        await eventually(serves(loader, 2))
        await eventually(lambda: moves == ["sums"])
        registry.recorded["sums"] = 2
        del registry.aliases["sums"]
        await eventually(lambda: moves == ["sums", "sums"])
        assert serves(loader, 2)(), "a champion whose alias was removed goes on serving"


async def test_the_list_of_champions_of_an_earlier_release_is_passed_over(tmp_path: Path) -> None:
    registry = MemoryRegistry()
    registry.models, registry.aliases["sums"] = {1: model(1)}, 1
    (tmp_path / "champions.json").write_text('{"sums": 1}')
    async with running(registry, tmp_path / "champions.json") as loader:
        await eventually(serves(loader, 1))
