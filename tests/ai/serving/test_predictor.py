"""Predictions without HTTP: which version computes them, what is stored, and in which order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest

from ai_api.data_client import DataClient
from ai_api.errors import (
    BlobsUnavailable,
    InvalidRow,
    LimitReached,
    NotSignedIn,
    OutboxFull,
    PredictionFailed,
    PredictionTimeout,
)
from ai_api.images.blobs import Blobs
from ai_api.images.reference import ImageRef
from ai_api.inference import ModelOutput
from ai_api.outbox.outbox import Outbox
from ai_api.privacy.eraser import Eraser
from ai_api.serving.batcher import BatchResult
from ai_api.serving.limits import CallerLimits
from ai_api.serving.model_loader import ModelLoader
from ai_api.serving.predictor import Origin, Predictor, Role
from ai_api.task import Row
from ai_api.tasks.products import TASK, Product
from tests.ai.support.data_api import no_jobs

pytestmark = pytest.mark.anyio

ANN = Origin("ann", "request 1")
SHOE, SHIRT = ImageRef.of_bytes(b"shoe"), ImageRef.of_bytes(b"shirt")


@dataclass
class Model:
    """A version with its queue, in one: predicts the designation of each row after a wait of 0.25 and 0.5 s of work."""

    number: int = 7
    run_id: str = "run 7"
    error: Exception | None = None
    requested: list[tuple[str, int | str | None]] = field(default_factory=list)
    calls: list[list[Row]] = field(default_factory=list)
    callers: list[str] = field(default_factory=list)
    start: float = 0.0
    end: float = 0.0

    @property
    def batcher(self) -> Model:
        return self

    @property
    def version(self) -> Model:
        return self

    async def get(self, task: str, version: int | str | None) -> Model:
        self.start = time.perf_counter()
        self.requested.append((task, version))
        return self

    async def submit(self, rows: Sequence[Row], caller: str) -> BatchResult[ModelOutput]:
        self.calls.append(list(rows))
        self.callers.append(caller)
        if self.error:
            raise self.error
        await asyncio.sleep(0.02)
        self.end = time.perf_counter()
        outputs: list[ModelOutput] = [{"label": str(cast("Product", row).designation)} for row in rows]
        return BatchResult(outputs, 0.25, 0.5)


class Images:
    """A store of images that keeps its calls, with how many rows were in the outbox at that moment."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.puts: list[tuple[ImageRef, str, str]] = []
        self.rows_before: list[int] = []
        self.is_full = False

    def put(self, image: ImageRef, owner: str, task: str) -> None:
        if self.is_full:
            raise BlobsUnavailable
        self.puts.append((image, owner, task))
        self.rows_before.append(len(self.outbox))


class Serving:
    """A predictor with its outbox, images and the people to erase."""

    def __init__(self, folder: Path) -> None:
        self.model = Model()
        self.outbox = Outbox(folder, max_rows=4)
        self.images = Images(self.outbox)
        self.erased: dict[str, str] = {}
        blobs = cast("Blobs", self.images)
        self._eraser = Eraser(self.outbox, blobs, DataClient("http://data", "key"), lambda: self.erased, no_jobs)
        self.limit()

    def limit(self, cost: int = 1_000_000, images: int = 1_000_000) -> None:
        """Replaces the predictor by one with these limits of each caller."""
        loader, blobs = cast("ModelLoader", self.model), cast("Blobs", self.images)
        limits = CallerLimits.of(cost, 1_000, images)
        self.predictor = Predictor(loader, self.outbox, blobs, self._eraser, limits, seconds=60)

    async def stored(self) -> list[dict[str, object]]:
        return [event.body for event in await self.outbox.oldest(100) if event.kind == "prediction"]


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    made = Serving(tmp_path)
    yield made
    made.outbox.close()


def rows(*designations: str, image: ImageRef | None = None) -> list[Row]:
    return [Product(designation=designation, image=image) for designation in designations]


async def test_predictions_are_returned_in_the_order_of_their_rows_and_stored_with_them(serving: Serving) -> None:
    predictions = await serving.predictor.predict(TASK, rows("a", "b"), ANN)
    assert predictions.version == 7
    assert [output["label"] for output in predictions.outputs] == ["a", "b"]
    stored = await serving.stored()
    assert [body["id"] for body in stored] == predictions.ids
    assert all(UUID(id_).version == 7 for id_ in predictions.ids)
    timing = {"queue_ms": 250.0, "compute_ms": 500.0}
    assert stored[0] == {
        "id": predictions.ids[0],
        "task": "products",
        "version": 7,
        "run_id": "run 7",
        "row": {"designation": "a", "description": None, "image": None},
        "row_schema": TASK.row_version,
        "answer": {"label": "a"},
        "user_id": "ann",
        "role": "champion",
        "rollout": None,
        "request_id": "request 1",
        "timing": timing,
    }
    assert stored[1]["answer"] == {"label": "b"}


async def test_times_are_in_milliseconds_and_the_total_holds_choosing_and_computing(serving: Serving) -> None:
    before = time.perf_counter()
    predictions = await serving.predictor.predict(TASK, rows("a"), ANN)
    elapsed = time.perf_counter() - before
    assert (predictions.queue_ms, predictions.compute_ms) == (250.0, 500.0)
    assert (serving.model.end - serving.model.start) * 1e3 - 0.001 <= predictions.total_ms <= elapsed * 1e3 + 0.001


@pytest.mark.parametrize(
    ("version", "role", "stored"),
    [
        (None, None, "champion"),
        ("champion", None, "champion"),
        (3, None, "pinned"),
        ("canary", None, "pinned"),
        (None, "shadow", "shadow"),
        (3, "canary", "canary"),
    ],
)
async def test_the_role_is_the_given_one_or_follows_from_the_version(
    serving: Serving, version: int | str | None, role: Role | None, stored: str
) -> None:
    await serving.predictor.predict(TASK, rows("a"), ANN, version=version, role=role)
    assert serving.model.requested == [("products", version)]
    assert [body["role"] for body in await serving.stored()] == [stored]


async def test_without_rows_nothing_is_predicted(serving: Serving) -> None:
    with pytest.raises(InvalidRow):
        await serving.predictor.predict(TASK, [], ANN)
    assert serving.model.requested == []


async def test_a_full_outbox_refuses_before_the_model_computes(serving: Serving) -> None:
    await serving.predictor.predict(TASK, rows("a", "b", "c"), ANN)
    with pytest.raises(OutboxFull):
        await serving.predictor.predict(TASK, rows("d", "e"), ANN)
    assert len(serving.model.calls) == 1
    await serving.predictor.predict(TASK, rows("f"), ANN)


async def test_nothing_is_stored_when_the_model_fails(serving: Serving) -> None:
    serving.model.error = PredictionFailed()
    with pytest.raises(PredictionFailed):
        await serving.predictor.predict(TASK, rows("a", image=SHOE), ANN)
    assert (await serving.stored(), serving.images.puts) == ([], [])


async def test_each_image_is_stored_once_for_its_owner_and_before_the_predictions(serving: Serving) -> None:
    given = [*rows("a", "b", image=SHOE), *rows("c", image=SHIRT), *rows("d")]
    await serving.predictor.predict(TASK, given, ANN)
    assert set(serving.images.puts) == {(SHOE, "ann", "products"), (SHIRT, "ann", "products")}
    assert serving.images.rows_before == [0, 0]
    assert [cast("dict[str, object]", body["row"])["image"] for body in await serving.stored()] == [
        SHOE.reference,
        SHOE.reference,
        SHIRT.reference,
        None,
    ]


async def test_no_prediction_is_stored_or_returned_without_its_image(serving: Serving) -> None:
    serving.images.is_full = True
    with pytest.raises(BlobsUnavailable):
        await serving.predictor.predict(TASK, rows("a", image=SHOE), ANN)
    assert await serving.stored() == []


async def test_nothing_is_stored_for_a_person_to_erase(serving: Serving) -> None:
    serving.erased = {"ann": "e1"}
    with pytest.raises(NotSignedIn):
        await serving.predictor.predict(TASK, rows("a", image=SHOE), ANN)
    assert (await serving.stored(), serving.images.puts) == ([], [])


async def test_a_call_that_takes_too_long_is_given_up_and_nothing_is_stored(serving: Serving) -> None:
    serving.predictor._seconds = 0.001
    with pytest.raises(PredictionTimeout):
        await serving.predictor.predict(TASK, rows("a", image=SHOE), ANN)
    assert (await serving.stored(), serving.images.puts) == ([], [])


async def test_a_caller_pays_for_the_cost_of_the_rows_and_trainers_may_ask_for_more(serving: Serving) -> None:
    serving.limit(cost=10)
    given = rows("x" * 40)
    assert TASK.cost(given[0]) == 11
    await serving.predictor.predict(TASK, given, ANN)
    with pytest.raises(LimitReached, match="AI_CALLER_COST"):
        await serving.predictor.predict(TASK, given, ANN)
    await serving.predictor.predict(TASK, given, Origin("bob", "request 2"))
    for _ in range(2):
        await serving.predictor.predict(TASK, given, Origin("eve", "request 3", is_trainer=True))
    assert len(serving.model.calls) == 4, "a refused call does not reach the model"


async def test_a_caller_pays_for_the_bytes_of_the_images_before_they_are_stored(serving: Serving) -> None:
    serving.limit(images=len(SHOE.read()))
    await serving.predictor.predict(TASK, rows("a", "b", image=SHOE), ANN)
    with pytest.raises(LimitReached, match="AI_CALLER_IMAGE_BYTES"):
        await serving.predictor.predict(TASK, rows("a", image=SHIRT), ANN)
    await serving.predictor.predict(TASK, rows("a"), ANN)
    assert [image for image, _, _ in serving.images.puts] == [SHOE]


async def test_the_model_is_told_whose_rows_they_are(serving: Serving) -> None:
    await serving.predictor.predict(TASK, rows("a"), ANN)
    assert serving.model.callers == ["ann"]
