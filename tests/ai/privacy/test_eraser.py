"""Everything that an instance holds of an erased person is deleted, on the disk too, whatever is in flight."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import httpx
import pytest

from ai_api.errors import NotSignedIn, QueueUnavailable
from ai_api.images.blobs import Blobs
from ai_api.images.reference import ImageRef
from ai_api.outbox.outbox import Outbox
from ai_api.outbox.responses import StoredResponse
from ai_api.outbox.shipper import Shipper
from ai_api.privacy.eraser import Eraser
from tests.ai.support.data_api import client_of, no_jobs

pytestmark = pytest.mark.anyio

ANN, BOB = "0199aa31-7e4c-7d11-9c43-00000000000a", "0199aa31-7e4c-7d11-9c43-00000000000b"
SECRET = "the neighbours dog is called Zwiebel"


class DataAPI:
    """Receives the reports of erasures, and refuses all rows as those of erased people."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, dict[str, object]]] = []
        self.released: list[str] = []
        self.away = False
        self.received, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("away")
        if request.method == "DELETE":
            self.released.append(request.url.path)
            return httpx.Response(204)
        body = json.loads(request.content)
        if request.url.path.startswith("/erasures/"):
            self.reports.append((request.url.path, body))
            return httpx.Response(204)
        self.received.set()
        await self.gate.wait()
        return httpx.Response(200, json={"results": [{"status": "refused", "reason": "erased"} for _ in body["rows"]]})


class Instance:
    """The outbox, image store and eraser of one instance, over one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_api = DataAPI()
        self.client = client_of(self.data_api)
        self.outbox = Outbox(folder / "outbox", max_rows=1_000)
        self.blobs = Blobs(str(folder / "blobs"))
        self.erased: dict[str, str] = {}
        self.eraser = Eraser(self.outbox, self.blobs, self.client, lambda: self.erased, no_jobs)

    async def keep(self, user_id: str, count: int = 1, text: str = SECRET) -> None:
        rows = [{"id": f"{user_id}-{number}", "row": {"text": text}, "user_id": user_id} for number in range(count)]
        await self.outbox.put("prediction", rows)

    def files_with(self, text: str) -> list[str]:
        """Files that contain the text, in any part of them."""
        return [path.name for path in self.folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


@pytest.fixture
async def instance(tmp_path: Path) -> AsyncIterator[Instance]:
    made = Instance(tmp_path)
    yield made
    await made.client.close()
    made.outbox.close()


async def test_rows_dead_letters_responses_and_images_are_deleted_from_the_disk_and_data_api_gets_a_report(
    instance: Instance,
) -> None:
    await instance.keep(ANN, 3)
    await instance.keep(BOB, text="rain")
    dead = (await instance.outbox.oldest(1))[0]
    await instance.outbox.settle([], [(dead, "no such task")])
    for person, text in ((ANN, SECRET), (BOB, "rain")):
        await instance.outbox.put("prediction", [], StoredResponse(person, person, "digest", text.encode()))
    shared, own = ImageRef.of_bytes(b"shared"), ImageRef.of_bytes(b"sent by Ann alone")
    for image, owner in ((shared, ANN), (shared, BOB), (own, ANN)):
        instance.blobs.put(image, owner, "shop")
    assert instance.files_with(SECRET)

    instance.erased = {ANN: "e1"}
    assert await instance.eraser.erase()
    assert instance.files_with(SECRET) == []
    assert instance.files_with("sent by Ann alone") == []
    assert instance.blobs.get(shared.digest) is not None, "another person sent the same image"
    assert [event.body["user_id"] for event in await instance.outbox.oldest(10)] == [BOB]
    assert (len(instance.outbox), instance.outbox.dead_letters) == (1, 0)
    assert [await instance.outbox.response(person) is None for person in (ANN, BOB)] == [True, False]
    removed = {"outbox": 2, "dead_letters": 1, "responses": 1, "pictures": 1, "training_jobs": 0}
    assert instance.data_api.reports == [("/erasures/e1/parts", {"replica": instance.outbox.name, "removed": removed})]
    await instance.eraser.erase()
    assert len(instance.data_api.reports) == 1, "one report for each erasure"


async def test_rows_sent_long_ago_are_not_left_in_the_file(instance: Instance) -> None:
    await instance.keep(ANN, 50)
    await instance.outbox.settle(await instance.outbox.oldest(100), [])
    instance.erased = {ANN: "e1"}
    await instance.eraser.erase()
    assert instance.files_with(SECRET) == []


async def test_a_row_that_is_being_sent_is_deleted_and_becomes_no_dead_letter(instance: Instance) -> None:
    await instance.keep(ANN, 2)
    instance.data_api.gate.clear()
    shipping = asyncio.create_task(Shipper(instance.outbox, instance.client, rows=10).ship_once())
    await asyncio.wait_for(instance.data_api.received.wait(), 10)
    instance.erased = {ANN: "e1"}
    await instance.eraser.erase()
    instance.data_api.gate.set()
    await shipping
    assert (len(instance.outbox), instance.outbox.dead_letters) == (0, 0)
    assert instance.files_with(SECRET) == []


async def test_an_erasure_waits_for_requests_in_flight_and_new_ones_are_refused(instance: Instance) -> None:
    with instance.eraser.storing_for(ANN):
        instance.erased = {ANN: "e1"}
        await instance.eraser.erase()
        assert instance.data_api.reports == []
        with pytest.raises(NotSignedIn), instance.eraser.storing_for(ANN):
            pass
        await instance.keep(ANN)
    await instance.eraser.erase()
    assert len(instance.data_api.reports) == 1
    assert instance.files_with(SECRET) == []


async def test_while_data_api_is_away_the_report_is_retried_with_all_counts(instance: Instance) -> None:
    await instance.keep(ANN, 2)
    instance.erased = {ANN: "e1"}
    instance.data_api.away = True
    assert not await instance.eraser.erase()
    assert instance.files_with(SECRET) == []
    instance.data_api.away = False
    assert await instance.eraser.erase()
    ((_, report),) = instance.data_api.reports
    assert report["removed"] == {"outbox": 2, "dead_letters": 0, "responses": 0, "pictures": 0, "training_jobs": 0}


async def test_a_file_taken_over_later_is_searched_too(instance: Instance) -> None:
    instance.erased = {ANN: "e1"}
    await instance.eraser.erase()
    other = Outbox(instance.folder / "outbox", max_rows=1_000)
    await other.put("feedback", [{"id": "f", "comment": SECRET, "user_id": ANN}])
    other.close()
    assert await instance.outbox.take_over() == 1
    await instance.eraser.erase()
    assert len(instance.outbox) == 0
    assert [report["removed"]["outbox"] for _, report in instance.data_api.reports] == [0, 1]  # type: ignore[index]
    assert instance.files_with(SECRET) == []


async def test_a_dead_instance_is_released_once_its_file_was_searched(instance: Instance) -> None:
    other = Outbox(instance.folder / "outbox", max_rows=1_000)
    await other.put("feedback", [{"id": "f", "comment": SECRET, "user_id": ANN}])
    other.close()
    instance.erased = {ANN: "e1"}
    await instance.outbox.take_over()
    instance.data_api.away = True
    assert not await instance.eraser.erase()
    assert instance.data_api.released == []
    instance.data_api.away = False
    assert await instance.eraser.erase()
    assert await instance.eraser.erase()
    assert instance.data_api.released == [f"/replicas/{other.name}"], "reported once"
    assert [report["replica"] for _, report in instance.data_api.reports] == [instance.outbox.name]


async def test_an_instance_that_ends_without_rows_is_not_awaited_any_more(instance: Instance) -> None:
    instance.erased = {ANN: "e1"}
    await instance.eraser.leave()
    assert instance.data_api.released == [], "an erasure is not done yet"
    await instance.eraser.erase()
    await instance.keep(BOB)
    await instance.eraser.leave()
    assert instance.data_api.released == [], "it holds a row"
    await instance.outbox.settle(await instance.outbox.oldest(1), [])
    instance.data_api.away = True
    await instance.eraser.leave()
    instance.data_api.away = False
    await instance.eraser.leave()
    assert instance.data_api.released == [f"/replicas/{instance.outbox.name}"]


async def test_an_erasure_is_reported_only_once_the_jobs_of_the_person_are_cleared(instance: Instance) -> None:
    cleared: list[str] = []

    async def away(_: str) -> int:
        raise QueueUnavailable

    async def clear(user_id: str) -> int:
        cleared.append(user_id)
        return 2

    instance.erased = {ANN: "e1"}
    instance.eraser._clear_jobs = away
    assert not await instance.eraser.erase()
    assert instance.data_api.reports == []
    instance.eraser._clear_jobs = clear
    assert await instance.eraser.erase()
    [(_, report)] = instance.data_api.reports
    assert cast("dict[str, int]", report["removed"])["training_jobs"] == 2
    assert cleared == [ANN]
