"""Sending an image works as docs/calls.md prints it; in a file of its own, as its stack serves `products`."""

from __future__ import annotations

import json

from tests.loop.typed import blocks, typed
from tests.loop.volant import Volant


def test_an_image_is_made_and_predicted_as_printed(small: Volant) -> None:
    [block] = [block for block in blocks("docs/calls.md") if "/predict/products" in block]
    response = json.loads(typed(small, block))
    assert response["task"] == "products"
    assert response["predictions"][0]["label"] in response["predictions"][0]["probabilities"]
    assert (small.root / "shirt.bmp").stat().st_size > 1_000
