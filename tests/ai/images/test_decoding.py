"""Images are decoded in threads of their own: one call within its budget of pixels, one caller within its threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from ai_api.errors import TooLarge
from ai_api.images.decoding import Decoder
from ai_api.images.reference import MAX_PIXELS, ImageRef, InvalidImage, PixelBudget
from ai_api.tasks.products import Product
from tests.ai.support.drawn import encoded, plain
from tests.waiting import eventually

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


def test_an_image_with_too_many_pixels_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", decoded := Loads())
    with pytest.raises(InvalidImage, match="25 million pixels"):
        ImageRef.parse(encoded(Image.new("1", (5_000, MAX_PIXELS // 5_000 + 1)), "PNG"))
    assert decoded.count == 0
