"""Images are decoded in threads of their own: one call within its budget of pixels, one caller within its threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from ai_api.errors import TooLarge
from ai_api.features.image import Pixels
from ai_api.images import reference
from ai_api.images.decoding import Decoder
from ai_api.images.reference import MAX_PIXELS, ImageRef, InvalidImage, PixelBudget, opened
from ai_api.tasks.products import Product
from tests.ai.support.drawn import encoded, plain
from tests.waiting import eventually, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def decoder() -> AsyncIterator[Decoder]:
    opened = Decoder(threads=2)
    yield opened
    opened.close()


async def test_a_caller_who_decodes_many_images_leaves_a_thread_to_the_others(decoder: Decoder) -> None:
    gate, running = threading.Event(), []

    def wait() -> None:
        running.append(threading.get_ident())
        assert gate.wait(10)

    ann = [asyncio.create_task(decoder.call("ann").run(wait)) for _ in range(50)]
    await eventually(lambda: len(running) == 2)
    assert await asyncio.wait_for(decoder.call("bob").run(threading.get_ident), 10) not in running
    assert len(running) == 2
    gate.set()
    await asyncio.gather(*ann)
    assert not decoder._callers


async def test_a_function_that_fails_gives_its_thread_back(decoder: Decoder) -> None:
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(decoder.call("ann").run(lambda: 1 // 0), 10)


def test_the_pixels_of_a_call_are_bounded_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    image, budget = plain(size=(60, 40)), PixelBudget(5_000)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", decoded := Loads())
    for _ in range(2):
        Product.model_validate({"designation": "shoe", "image": image}, context=budget)
    with pytest.raises(TooLarge, match="100 million pixels"):
        Product.model_validate({"designation": "shoe", "image": image}, context=budget)
    assert decoded.count == 2


@pytest.mark.parametrize(
    ("mode", "format_", "millions"),
    [("1", "PNG", 17), ("RGB", "PNG", 5), ("RGB", "WEBP", 2), ("RGB", "progressive JPEG", 3)],
)
def test_large_images_are_in_memory_one_at_a_time_and_small_ones_do_not_wait(
    mode: str, format_: str, millions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = of_size(mode, format_, millions)
    monkeypatch.setattr(reference, "LARGE", lock := NotedLock())
    with ThreadPoolExecutor(2) as threads:
        with opened(large):
            waiting = [threads.submit(ImageRef.parse, large) for _ in range(2)]
            until(lambda: lock.asked == 3, "both to ask")
            assert ImageRef.parse(plain(size=(60, 40))).pixels == 2_400
            assert lock.given == 1
        assert {each.result(60).pixels for each in waiting} == {millions * 1_000_000}
    assert lock.given == 3
    for _ in range(2):  # a failure gives it back
        with pytest.raises(InvalidImage, match="must be a whole image"):
            ImageRef.parse(large[:-40])


def of_size(mode: str, format_: str, millions: int) -> bytes:
    """An image of so many million pixels."""
    canvas = Image.new(mode, (5_000, 200 * millions))
    return encoded(canvas, format_.removeprefix("progressive "), progressive=format_.startswith("progressive"))


class NotedLock:
    """A lock that counts how often it was asked for and given."""

    def __init__(self) -> None:
        self.asked = self.given = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self.asked += 1
        assert self._lock.acquire(timeout=60)
        self.given += 1

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Loads:
    """Counts the images that are decoded."""

    count = 0

    def __call__(self, *_: object) -> None:
        self.count += 1


def test_an_accepted_image_knows_its_pixels() -> None:
    for format_ in ("JPEG", "PNG"):
        assert ImageRef.parse(plain(size=(600, 400), format_=format_)).pixels == 240_000


def test_a_jpeg_that_ends_early_is_refused_although_it_is_decoded_at_a_small_size() -> None:
    content = plain(size=(600, 400), format_="JPEG")
    for length in (len(content) // 2, len(content) - 200, len(content) - 40):
        with pytest.raises(InvalidImage, match="must be a whole image"):
            ImageRef.parse(content[:length])


@pytest.mark.parametrize(
    ("mode", "format_", "most"),
    [
        ("1", "PNG", 25),
        ("P", "GIF", 25),
        ("L", "JPEG", 25),
        ("RGB", "PNG", 16),
        ("RGBA", "PNG", 16),
        ("I;16", "PNG", 16),
        ("RGB", "progressive JPEG", 10),
        ("RGB", "WEBP", 4),
    ],
)
def test_an_image_with_more_pixels_than_its_format_may_have_is_refused_by_its_header(
    mode: str, format_: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded := Loads())
    monkeypatch.setattr("PIL.WebPImagePlugin.WebPImageFile.load", decoded)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", decoded)

    with pytest.raises(InvalidImage, match=f"at most {most} million pixels"):
        ImageRef.parse(of_size(mode, format_, most + 1))
    assert decoded.count == 0
    assert ImageRef.parse(of_size(mode, format_, most)).pixels == most * 1_000_000
    assert decoded.count == 1


def test_a_long_thin_image_is_read_too() -> None:
    for size in ((1, MAX_PIXELS), (MAX_PIXELS, 1)):
        line = Pixels(40, 30).transform([encoded(Image.new("L", size, 70))])
        assert np.abs(line.astype(int) - 70).max() <= 1
