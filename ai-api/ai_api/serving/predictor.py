"""Predict typed rows without HTTP: choose the version, compute, store images and predictions, count them.

Every prediction is stored before it is returned, and its images before that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from uuid_utils.compat import uuid7

from ai_api.errors import InvalidRow, PredictionTimeout
from ai_api.images.blobs import Blobs
from ai_api.images.reference import ImageRef
from ai_api.inference import ModelOutput
from ai_api.metrics import PREDICTIONS
from ai_api.outbox.outbox import Outbox
from ai_api.outbox.responses import StoredResponse
from ai_api.privacy.eraser import Eraser
from ai_api.registry.versions import Version
from ai_api.slices import in_slices
from ai_api.task import Modality, Row, Task

from .batcher import BatchResult
from .limits import CallerLimits
from .model_loader import ModelLoader
from .task_loader import LiveVersion

Role = Literal["champion", "pinned", "canary", "shadow", "replay", "probe"]
"""Why a version was chosen. It is stored with the prediction."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asked for a prediction, and in which request."""

    user_id: str
    request_id: str
    is_trainer: bool = False


@dataclass(frozen=True, slots=True)
class PredictionBatch:
    """The predictions of one request in the order of its rows, all of one version."""

    version: int
    ids: list[str]
    outputs: list[ModelOutput]
    queue_ms: float
    compute_ms: float
    total_ms: float


class Predictor:
    """Predicts with what the loader serves, and stores images in `blobs` and predictions in the outbox.

    The rows of one call wait and are computed for `seconds` at most.
    """

    def __init__(
        self,
        loader: ModelLoader,
        outbox: Outbox,
        blobs: Blobs,
        eraser: Eraser,
        limits: CallerLimits,
        seconds: float,
    ) -> None:
        self._loader = loader
        self._limits = limits
        self._seconds = seconds
        self._outbox = outbox
        self._blobs = blobs
        self._eraser = eraser

    async def predict(
        self,
        task: Task,
        rows: Sequence[Row],
        origin: Origin,
        *,
        version: int | str | None = None,
        role: Role | None = None,
        keep: Callable[[PredictionBatch], StoredResponse] | None = None,
    ) -> PredictionBatch:
        """Predicts with a version (a number or an alias; None: the champion) and stores the predictions as `role`
        (None: champion or pinned, after the version asked for), and what `keep` makes of them in the same commit.

        Whatever fails before the commit raises, and nothing is returned: InvalidRow without rows, NoChampion,
        UnknownVersion, Overloaded, LimitReached, PredictionTimeout, OutboxFull, BlobsUnavailable, PredictionFailed, or
        NotSignedIn for an erased person.
        """
        started = time.perf_counter()
        if not rows:
            raise InvalidRow("inputs: at least one row")
        live = await self._loader.get(task.name, version)
        self._outbox.admit(len(rows))
        images = images_of(task, rows)
        self._charge(sum(map(task.cost, rows)), images, origin)
        batch = await self._compute(live, rows, origin)
        timing = timing_of(batch)
        role = role or ("champion" if version in (None, "champion") else "pinned")
        ids = [str(uuid7()) for _ in rows]
        events = [
            prediction_event(id_, task, live.version, row, output, origin, role, timing)
            async for id_, row, output in in_slices(zip(ids, rows, batch.outputs, strict=True))
        ]

        def made() -> PredictionBatch:
            total_ms = round((time.perf_counter() - started) * 1e3, 3)
            return PredictionBatch(live.number, ids, batch.outputs, **timing, total_ms=total_ms)

        with self._eraser.storing_for(origin.user_id):
            if images:
                await asyncio.to_thread(store_images, self._blobs, images, origin.user_id, task.name)
            await self._outbox.put("prediction", events, None if keep is None else keep(made()))
        PREDICTIONS.labels(task.name, str(live.number)).inc(len(rows))
        return made()

    def _charge(self, cost: int, images: Collection[ImageRef], origin: Origin) -> None:
        self._limits.cost.charge(origin.user_id, cost, is_trainer=origin.is_trainer)
        if images:
            stored = sum(len(image.read()) for image in images)
            self._limits.images.charge(origin.user_id, stored, is_trainer=origin.is_trainer)

    async def _compute(self, live: LiveVersion, rows: Sequence[Row], origin: Origin) -> BatchResult[ModelOutput]:
        try:
            async with asyncio.timeout(self._seconds):
                return await live.batcher.submit(rows, origin.user_id)
        except TimeoutError:
            raise PredictionTimeout from None


def timing_of(batch: BatchResult[ModelOutput]) -> dict[str, float]:
    """The longest wait and computation among the rows, in milliseconds."""
    return {"queue_ms": round(batch.queue_seconds * 1e3, 3), "compute_ms": round(batch.compute_seconds * 1e3, 3)}


def images_of(task: Task, rows: Sequence[Row]) -> set[ImageRef]:
    """The distinct images in these rows."""
    columns = task.row.columns(Modality.IMAGE)
    return {getattr(row, name) for name in columns for row in rows} - {None}


def store_images(blobs: Blobs, images: Iterable[ImageRef], owner: str, task: str) -> None:
    """Blocks until all images are stored."""
    for image in images:
        blobs.put(image, owner, task)


def prediction_event(
    id_: str,
    task: Task,
    version: Version,
    row: Row,
    output: ModelOutput,
    origin: Origin,
    role: Role,
    timing: dict[str, float],
) -> dict[str, object]:
    """One prediction in the shape that data-api stores."""
    return {
        "id": id_,
        "task": task.name,
        "version": version.number,
        "run_id": version.run_id or None,
        "row": row.model_dump(mode="json"),
        "row_schema": task.row_version,
        "answer": output,
        "user_id": origin.user_id,
        "role": role,
        "rollout": None,
        "request_id": origin.request_id,
        "timing": timing,
    }
