"""An image expires once no stored row can refer to it."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from ai_api.errors import BlobsUnavailable
from ai_api.images.blobs import Blobs
from ai_api.images.reference import ImageRef
from ai_api.outbox.outbox import Outbox
from ai_api.privacy import expirer
from ai_api.privacy.expirer import Expirer
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

IMAGE = ImageRef.of_bytes(b"an image")
DAY = 86_400.0


def sent(folder: Path, days_ago: float, task: str = "shop") -> Blobs:
    """A store with one image, sent so many days ago."""
    blobs = Blobs(str(folder))
    blobs.put(IMAGE, "anna", task)
    then = time.time() - days_ago * DAY
    os.utime(folder / "owners/anna" / task / IMAGE.digest, (then, then))
    return blobs


def expirer_of(blobs: Blobs, folder: Path, **kept_days: int) -> Expirer:
    return Expirer(blobs, Outbox(folder / "outbox", max_rows=1), lambda: kept_days)


@pytest.mark.parametrize(("days_ago", "stays"), [(30.5, True), (31.5, False)])
async def test_an_image_is_kept_a_day_longer_than_its_rows(tmp_path: Path, days_ago: float, stays: bool) -> None:
    blobs = sent(tmp_path, days_ago)
    await expirer_of(blobs, tmp_path, shop=30).expire()
    assert (blobs.get(IMAGE.digest) is not None) == stays


async def test_a_task_without_a_retention_keeps_its_images(tmp_path: Path) -> None:
    blobs = sent(tmp_path, 3_000)
    await expirer_of(blobs, tmp_path, fashion=1).expire()
    assert blobs.get(IMAGE.digest) is not None


async def test_a_store_that_does_not_respond_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    blobs = sent(tmp_path, 40)
    real, failures = blobs.expire, iter([BlobsUnavailable()])

    def expire(*arguments: object) -> int:
        if error := next(failures, None):
            raise error
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(blobs, "expire", expire)
    for name in ("FIRST_SECONDS", "PAUSE_SECONDS"):
        monkeypatch.setattr(expirer, name, 0.01)
    running = asyncio.create_task(expirer_of(blobs, tmp_path, shop=30).run())
    await eventually(lambda: blobs.get(IMAGE.digest) is None)
    running.cancel()
    assert "not erased yet task=shop" in caplog.text
