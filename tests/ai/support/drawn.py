"""Encoded images for tests."""

from __future__ import annotations

import io

from PIL import Image


def encoded(image: Image.Image, format_: str = "PNG", **options: object) -> bytes:
    kept = io.BytesIO()
    image.save(kept, format_, **options)
    return kept.getvalue()


def plain(colour: str | tuple[int, ...] = "red", size: tuple[int, int] = (60, 80), format_: str = "PNG") -> bytes:
    """An image of one colour."""
    return encoded(Image.new("RGB", size, colour), format_)
