"""What a process holds of an erased person goes, from the disk too, whatever is on its way at that moment."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from ai_api.blobs import Blobs
from ai_api.data_client import DataClient
from ai_api.errors import NotSignedIn
from ai_api.images import ImageRef
from ai_api.outbox.outbox import Outbox
from ai_api.outbox.shipper import Shipper
from ai_api.privacy.eraser import Eraser

pytestmark = pytest.mark.anyio

ANN, BOB = "0199aa31-7e4c-7d11-9c43-00000000000a", "0199aa31-7e4c-7d11-9c43-00000000000b"
SECRET = "the neighbours dog is called Zwiebel"


class DataAPI:
    """Hears the reports, and refuses the rows of erased people."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, dict[str, object]]] = []
        self.forgotten: list[str] = []
        self.away = False
        self.asked, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("away")
        if request.method == "DELETE":
            self.forgotten.append(request.url.path)
            return httpx.Response(204)
        body = json.loads(request.content)
        if request.url.path.startswith("/erasures/"):
            self.reports.append((request.url.path, body))
            return httpx.Response(204)
        self.asked.set()
        await self.gate.wait()
        return httpx.Response(200, json={"results": [{"status": "refused", "reason": "erased"} for _ in body["rows"]]})


class Place:
    """A process's outbox, pictures and eraser, over one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_api = DataAPI()
        self.client = DataClient("http://data", "key")
        self.client._opened = httpx.AsyncClient(base_url="http://data", transport=httpx.MockTransport(self.data_api))
        self.outbox = Outbox(folder / "outbox", max_rows=1_000)
        self.blobs = Blobs(str(folder / "blobs"))
        self.erased: dict[str, str] = {}
        self.eraser = Eraser(self.outbox, self.blobs, self.client, lambda: self.erased)

    async def keep(self, user_id: str, count: int = 1, text: str = SECRET) -> None:
        rows = [{"id": f"{user_id}-{number}", "row": {"text": text}, "user_id": user_id} for number in range(count)]
        await self.outbox.put("prediction", rows)

    def holds(self, word: str) -> list[str]:
        """Files in which the word stands, in whatever part of them."""
        return [path.name for path in self.folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path)
    yield made
    await made.client.close()
    made.outbox.close()


async def test_rows_dead_letters_and_pictures_go_from_the_disk_and_data_api_is_told(place: Place) -> None:
    await place.keep(ANN, 3)
    await place.keep(BOB, text="rain")
    dead = (await place.outbox.oldest(1))[0]
    await place.outbox.settle([], [(dead, "no such task")])
    ours, hers = ImageRef.of_bytes(b"ours"), ImageRef.of_bytes(b"hers alone")
    for picture, owner in ((ours, ANN), (ours, BOB), (hers, ANN)):
        place.blobs.put(picture, owner, "shop")
    assert place.holds(SECRET)

    place.erased = {ANN: "e1"}
    assert await place.eraser.erase()
    assert place.holds(SECRET) == []
    assert place.holds("hers alone") == []
    assert place.blobs.get(ours.digest) is not None, "somebody else sent the same one"
    assert [event.body["user_id"] for event in await place.outbox.oldest(10)] == [BOB]
    assert (len(place.outbox), place.outbox.dead_letters) == (1, 0)
    removed = {"outbox": 2, "dead_letters": 1, "pictures": 1}
    assert place.data_api.reports == [("/erasures/e1/parts", {"replica": place.outbox.name, "removed": removed})]
    await place.eraser.erase()
    assert len(place.data_api.reports) == 1, "once is enough"


async def test_what_was_shipped_long_ago_does_not_stay_in_the_file(place: Place) -> None:
    await place.keep(ANN, 50)
    await place.outbox.settle(await place.outbox.oldest(100), [])
    place.erased = {ANN: "e1"}
    await place.eraser.erase()
    assert place.holds(SECRET) == []


async def test_a_row_that_is_being_sent_is_neither_kept_nor_buried(place: Place) -> None:
    await place.keep(ANN, 2)
    place.data_api.gate.clear()
    shipping = asyncio.create_task(Shipper(place.outbox, place.client, rows=10).ship_once())
    await asyncio.wait_for(place.data_api.asked.wait(), 10)
    place.erased = {ANN: "e1"}
    await place.eraser.erase()
    place.data_api.gate.set()
    await shipping
    assert (len(place.outbox), place.outbox.dead_letters) == (0, 0)
    assert place.holds(SECRET) == []


async def test_a_request_in_flight_ends_first_and_none_begins(place: Place) -> None:
    with place.eraser.storing_for(ANN):
        place.erased = {ANN: "e1"}
        await place.eraser.erase()
        assert place.data_api.reports == []
        with pytest.raises(NotSignedIn), place.eraser.storing_for(ANN):
            pass
        await place.keep(ANN)
    await place.eraser.erase()
    assert len(place.data_api.reports) == 1
    assert place.holds(SECRET) == []


async def test_while_data_api_is_away_it_tries_again_and_forgets_no_count(place: Place) -> None:
    await place.keep(ANN, 2)
    place.erased = {ANN: "e1"}
    place.data_api.away = True
    assert not await place.eraser.erase()
    assert place.holds(SECRET) == []
    place.data_api.away = False
    assert await place.eraser.erase()
    ((_, report),) = place.data_api.reports
    assert report["removed"] == {"outbox": 2, "dead_letters": 0, "pictures": 0}


async def test_a_file_that_is_taken_over_later_is_searched_too(place: Place) -> None:
    place.erased = {ANN: "e1"}
    await place.eraser.erase()
    other = Outbox(place.folder / "outbox", max_rows=1_000)
    await other.put("feedback", [{"id": "f", "comment": SECRET, "user_id": ANN}])
    other.close()
    assert await place.outbox.take_over() == 1
    await place.eraser.erase()
    assert len(place.outbox) == 0
    assert [report["removed"]["outbox"] for _, report in place.data_api.reports] == [0, 1]  # type: ignore[index]
    assert place.holds(SECRET) == []


async def test_nobody_waits_for_a_process_whose_file_is_here_once_that_was_searched(place: Place) -> None:
    other = Outbox(place.folder / "outbox", max_rows=1_000)
    await other.put("feedback", [{"id": "f", "comment": SECRET, "user_id": ANN}])
    other.close()
    place.erased = {ANN: "e1"}
    await place.outbox.take_over()
    place.data_api.away = True
    assert not await place.eraser.erase()
    assert place.data_api.forgotten == []
    place.data_api.away = False
    assert await place.eraser.erase()
    assert await place.eraser.erase()
    assert place.data_api.forgotten == [f"/replicas/{other.name}"], "told once"
    assert [report["replica"] for _, report in place.data_api.reports] == [place.outbox.name]
