"""A new version proves itself before it takes over, and the old one serves until then and stays when it does not."""

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

from ai_api.errors import NoChampion, RegistryUnavailable, UnknownTask, UnknownVersion
from ai_api.inference import ModelOutput
from ai_api.registry.registry import Registry
from ai_api.registry.versions import LoadedModel, Version
from ai_api.serving.model_loader import BatchLimits, ModelLoader, agree
from ai_api.task import Kind, Recipe, Row, Task

pytestmark = pytest.mark.anyio


class Number(Row):
    """One number."""

    x: float


class SumModel(LoadedModel):
    """Adds its version's number to x."""

    def predict(self, rows: Sequence[Mapping[str, object]]) -> list[ModelOutput]:
        return [{"value": float(str(row["x"])) + self.version.number} for row in rows]


class BrokenModel(LoadedModel):
    """Fails on whatever it is asked."""

    def predict(self, rows: Sequence[Mapping[str, object]]) -> list[ModelOutput]:
        raise ValueError("broken")


def version(number: int, row_version: int = 1) -> Version:
    return Version(
        task="sums", number=number, run_id="r", recipe="sum", created_at=datetime.now(UTC), aliases=(), metrics={},
        labels=None, synthetic=False, row_version=row_version, data_hash="", digest="",
    )  # fmt: skip


def model(number: int, kind: type[LoadedModel] = SumModel, off_by: float = 0.0, row_version: int = 1) -> LoadedModel:
    sample: list[tuple[dict[str, object], ModelOutput]] = [({"x": 1.0}, {"value": 1.0 + number + off_by})]
    return kind(version(number, row_version), cast("Pipeline", None), columns={}, schema={}, sample=sample)


class Shelf:
    """A registry in memory. `away` is MLflow not answering; `cached` is what can be loaded even so."""

    def __init__(self) -> None:
        self.models: dict[int, LoadedModel] = {}
        self.alias: int | None = None
        self.away = False
        self.cached: set[int] = set()
        self.loads: list[int] = []
        self.kept: set[int] = set()
        self.full_disk = False

    def champion(self, task: str) -> int | None:
        if self.away:
            raise RegistryUnavailable
        return self.alias

    def version(self, task: str, wanted: int | str) -> Version:
        raise UnknownVersion

    def evict(self, task: str, keep: set[int]) -> None:
        self.kept = keep

    def load(self, task: str, number: int) -> LoadedModel:
        if self.away and number not in self.cached:
            raise RegistryUnavailable
        if self.full_disk:
            raise OSError("no space left on device")
        self.loads.append(number)
        if number not in self.models:
            raise UnknownVersion
        return self.models[number]


SUMS = Task(
    name="sums", kind=Kind.REGRESSION, row=Number, metric="rmse", margin=0.1,
    load=lambda source: (_ for _ in ()).throw(AssertionError("not asked here")), recipes=(Recipe("sum"),),
)  # fmt: skip


@asynccontextmanager
async def running(shelf: Shelf, memory: Path, keep: int = 1) -> AsyncIterator[ModelLoader]:
    with ThreadPoolExecutor(1) as executor:
        loader = ModelLoader(
            {"sums": SUMS},
            cast("Registry", shelf),
            memory,
            BatchLimits(10, 10, 10),
            executor=executor,
            watch_seconds=0.01,
            keep=keep,
        )
        task = asyncio.create_task(loader.run())
        try:
            yield loader
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


async def answer(loader: ModelLoader, wanted: int | str | None = None) -> float:
    live = await loader.get("sums", wanted)
    (found,) = (await live.batcher.submit([Number(x=1)])).answers
    return float(str(found["value"]))


def serves(loader: ModelLoader, number: int) -> Callable[[], bool]:
    return lambda: (live := loader.serving("sums")) is not None and live.number == number


async def test_nothing_serves_before_a_first_promotion(tmp_path: Path) -> None:
    async with running(Shelf(), tmp_path / "memory.json") as loader:
        with pytest.raises(NoChampion):
            await loader.get("sums")


async def test_a_champion_is_waited_for_until_it_was_looked_for(tmp_path: Path) -> None:
    shelf = Shelf()
    async with running(shelf, tmp_path / "memory.json") as loader:
        assert loader.is_loading("sums"), "nobody has looked yet"
        await until(lambda: not loader.is_loading("sums"))
    shelf.alias, shelf.models[3] = 3, model(3)
    async with running(shelf, tmp_path / "memory.json") as loader:
        await until(lambda: not loader.is_loading("sums"))
        assert serves(loader, 3)()
        with pytest.raises(UnknownTask):
            await loader.get("quotients")


async def test_the_version_that_the_alias_names_takes_over_and_the_old_one_ends_what_it_took(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.models, shelf.alias = {1: model(1), 2: model(2)}, 1
    async with running(shelf, tmp_path / "memory.json") as loader:
        await until(serves(loader, 1))
        old = await loader.get("sums")
        shelf.alias = 2
        await until(serves(loader, 2))
        assert await answer(loader) == 3.0
        assert (await old.batcher.submit([Number(x=1)])).answers == [{"value": 2.0}]


@pytest.mark.parametrize(
    "bad",
    [model(2, BrokenModel), model(2, off_by=0.5), model(2, row_version=9)],
    ids=["fails", "answers otherwise", "old rows"],
)
async def test_a_version_that_does_not_prove_itself_stays_out_and_it_is_said_why(
    tmp_path: Path, bad: LoadedModel
) -> None:
    shelf = Shelf()
    shelf.models, shelf.alias = {1: model(1), 2: bad}, 1
    async with running(shelf, tmp_path / "memory.json") as loader:
        await until(serves(loader, 1))
        shelf.alias = 2
        await until(lambda: loader.refused("sums") is not None)
        assert await answer(loader) == 2.0
        refused = loader.refused("sums")
        assert refused is not None
        assert refused[0] == 2
        loads = len(shelf.loads)
        shelf.alias = 1
        await until(lambda: loader.refused("sums") is None)
        assert len(shelf.loads) == loads, "a refused version is not tried over and over"


async def test_what_served_last_serves_again_while_the_registry_is_away(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.models, shelf.alias = {1: model(1)}, 1
    async with running(shelf, tmp_path / "memory.json") as loader:
        await until(serves(loader, 1))
        await until(lambda: (tmp_path / "memory.json").exists())
    shelf.away, shelf.cached = True, {1}
    async with running(shelf, tmp_path / "memory.json") as loader:
        await until(serves(loader, 1))
        assert loader.registry_answers is False


async def test_a_version_that_cannot_be_fetched_yet_is_tried_again(tmp_path: Path) -> None:
    shelf = Shelf()
    (tmp_path / "memory.json").write_text('{"sums": 1, "gone": 3}')
    shelf.away, shelf.models, shelf.alias = True, {1: model(1)}, 1
    async with running(shelf, tmp_path / "memory.json") as loader:
        await asyncio.sleep(0)
        shelf.away = False
        await until(serves(loader, 1))


async def test_a_failure_that_says_nothing_about_the_version_is_no_verdict(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.models, shelf.alias, shelf.full_disk = {1: model(1)}, 1, True
    async with running(shelf, tmp_path / "memory.json") as loader:
        await until(lambda: "sums" in loader._failed)
        assert loader.refused("sums") is None
        shelf.full_disk = False
        await until(serves(loader, 1))
        await until(lambda: shelf.kept == {1})


@pytest.mark.parametrize("wanted", ["²", "9" * 5_000, -1, 10**400, 0, "9"])
async def test_a_version_that_cannot_be_is_unknown(tmp_path: Path, wanted: int | str) -> None:
    async with running(Shelf(), tmp_path / "memory.json") as loader:
        with pytest.raises(UnknownVersion):
            await loader.get("sums", wanted)


async def test_other_versions_answer_by_number_and_only_the_last_few_stay_loaded(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.models, shelf.alias = {number: model(number) for number in (1, 2, 3)}, 1
    async with running(shelf, tmp_path / "memory.json", keep=1) as loader:
        await until(serves(loader, 1))
        assert [await answer(loader, 2), await answer(loader, "3"), await answer(loader, 1)] == [3.0, 4.0, 2.0]
        assert await answer(loader, 2) == 3.0
        assert shelf.loads == [1, 2, 3, 2]
        with pytest.raises(UnknownVersion):
            await loader.get("sums", 9)


def test_answers_agree_when_they_differ_by_rounding_only() -> None:
    sure = {"label": "a", "score": 0.9, "probabilities": {"a": 0.9, "b": 0.1}}
    tie = {"label": "a", "score": 0.501, "probabilities": {"a": 0.501, "b": 0.499}}
    other_side = {"label": "b", "score": 0.501, "probabilities": {"a": 0.499, "b": 0.501}}
    assert agree(sure, sure)
    assert agree(tie, other_side)
    assert not agree(sure, tie)
    assert not agree(sure, {"label": "a", "score": 0.9, "probabilities": {"a": 0.9, "c": 0.1}})
    assert agree({"value": 100.0}, {"value": 100.05})
    assert not agree({"value": 100.0}, {"value": 101.0})
