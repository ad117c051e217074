"""Erasures are tried again until data-api has the report, and each ended instance is released once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from ai_api.data_client import DataClient
from ai_api.images.blobs import Blobs
from ai_api.outbox.outbox import Outbox
from ai_api.privacy import eraser as eraser_module
from ai_api.privacy.eraser import Eraser
from tests.ai.support.data_api import client_of, no_jobs
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


class DataAPI:
    """Keeps the erasures that were reported and the instances that were released."""

    def __init__(self) -> None:
        self.is_away = False
        self.calls = 0
        self.reported: list[tuple[str, dict[str, int]]] = []
        self.released: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        if self.is_away:
            raise httpx.ConnectError("away")
        if request.method == "DELETE":
            self.released.append(request.url.path.rpartition("/")[2])
        else:
            self.reported.append((request.url.path, json.loads(request.content)["removed"]))
        return httpx.Response(204)


@pytest.fixture
def data_api() -> DataAPI:
    return DataAPI()


@pytest.fixture
async def client(data_api: DataAPI) -> AsyncIterator[DataClient]:
    made = client_of(data_api)
    yield made
    await made.close()


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    made = Outbox(tmp_path / "outbox", max_rows=1_000)
    yield made
    made.close()


def eraser_of(outbox: Outbox, client: DataClient, folder: Path, erased: dict[str, str]) -> Eraser:
    return Eraser(outbox, Blobs(str(folder / "blobs")), client, lambda: erased, no_jobs)


async def test_an_erasure_is_tried_again_in_the_background_until_it_is_reported(
    outbox: Outbox, client: DataClient, data_api: DataAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eraser_module, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(eraser_module, "LOOK_SECONDS", 3_600.0)
    data_api.is_away = True
    task = asyncio.create_task(eraser_of(outbox, client, tmp_path, {"ann": "e1"}).run())
    await eventually(lambda: data_api.calls >= 2)
    data_api.is_away = False
    await eventually(lambda: bool(data_api.reported))
    assert [path for path, _ in data_api.reported] == ["/erasures/e1/parts"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_every_ended_instance_is_released_once(
    outbox: Outbox, client: DataClient, data_api: DataAPI, tmp_path: Path
) -> None:
    eraser = eraser_of(outbox, client, tmp_path, {"ann": "e1"})
    others = [Outbox(tmp_path / "outbox", max_rows=10) for _ in range(3)]
    for number, other in enumerate(others):
        await other.put("feedback", [{"id": f"f{number}", "user_id": "ann"}])
    for other in others[:2]:
        other.close()
    await outbox.take_over()
    assert await eraser.erase()
    assert sorted(data_api.released) == sorted(other.name for other in others[:2])
    others[2].close()
    await outbox.take_over()
    assert await eraser.erase()
    assert await eraser.erase()
    assert sorted(data_api.released) == sorted(other.name for other in others)


async def test_a_person_with_two_requests_in_flight_is_erased_after_both_have_ended(
    outbox: Outbox, client: DataClient, data_api: DataAPI, tmp_path: Path
) -> None:
    erased: dict[str, str] = {}
    eraser = eraser_of(outbox, client, tmp_path, erased)
    with eraser.storing_for("ann"):
        with eraser.storing_for("ann"):
            erased["ann"] = "e1"
        await eraser.erase()
        assert data_api.reported == []
    await eraser.erase()
    assert len(data_api.reported) == 1


async def test_a_request_that_failed_is_not_in_flight_any_more(
    outbox: Outbox, client: DataClient, data_api: DataAPI, tmp_path: Path
) -> None:
    erased: dict[str, str] = {}
    eraser = eraser_of(outbox, client, tmp_path, erased)
    with pytest.raises(OSError, match="full"), eraser.storing_for("ann"):
        raise OSError("full")
    erased["ann"] = "e1"
    await eraser.erase()
    assert len(data_api.reported) == 1


async def test_people_are_erased_apart_and_each_report_counts_its_own_rows(
    outbox: Outbox, client: DataClient, data_api: DataAPI, tmp_path: Path
) -> None:
    await outbox.put("prediction", [{"id": "1", "user_id": "ann"}, {"id": "2", "user_id": "bob"}])
    await outbox.put("prediction", [{"id": "3", "user_id": "bob"}])
    eraser = eraser_of(outbox, client, tmp_path, {"ann": "e1", "bob": "e2"})
    await eraser.erase()
    assert [(path, removed["outbox"]) for path, removed in data_api.reported] == [
        ("/erasures/e1/parts", 1),
        ("/erasures/e2/parts", 2),
    ]
