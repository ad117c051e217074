"""Exported corrections become training rows with their images; those that cannot are left out with a warning."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ai_api.datasets import Table, frame
from ai_api.features.image import Pixels
from ai_api.images.blobs import Blobs
from ai_api.images.reference import ImageRef
from ai_api.tasks.products import TASK, Product
from ai_api.training.corrections import read_corrections
from tests.ai.support.drawn import plain

PICTURE = ImageRef.of_bytes(plain("red"))
TABLE = Table([{"designation": "a"}, {"designation": "b"}], np.array(["10", "40"], dtype=object), key=("designation",))


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    store = Blobs(str(tmp_path))
    store.put(PICTURE, "anna", "shop")
    return store


def line(row: dict[str, object], **more: object) -> dict[str, object]:
    """One line of data-api's export."""
    correction = {"id": "1", "label": "40", "value": None, "user_id": "anna", "user_role": "user", "row_schema": 1}
    return {"row": row, **correction, **more}


def test_an_image_reference_becomes_the_stored_image(blobs: Blobs) -> None:
    exported = line({"designation": "a shoe", "description": None, "image": PICTURE.reference})
    (correction,) = read_corrections(TASK, TABLE, [exported], blobs)
    assert correction.row == {"designation": "a shoe", "description": None, "image": PICTURE}
    assert correction.truth == "40"
    seen = Pixels(2, 2).transform(frame([correction.row], Product.modalities())["image"])
    np.testing.assert_array_equal(seen, [[255, 0, 0] * 4])


def test_a_row_without_its_stored_image_is_left_out_with_a_warning(
    blobs: Blobs, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [
        line({"designation": "gone", "image": f"sha256:{'0' * 64}"}),
        line({"image": f"sha256:{'0' * 64}"}),
        line({"designation": "there", "image": PICTURE.reference}),
        line({"designation": "never had one", "image": None}),
    ]
    with caplog.at_level(logging.WARNING):
        corrections = read_corrections(TASK, TABLE, lines, blobs)
    assert [correction.row["designation"] for correction in corrections] == ["there", "never had one"]
    assert "2 corrections are left out: their images are not in the blob store" in caplog.text


def test_without_a_blob_store_rows_with_images_are_left_out() -> None:
    lines = [line({"designation": "a", "image": PICTURE.reference}), line({"designation": "b"})]
    assert [correction.row["designation"] for correction in read_corrections(TASK, TABLE, lines)] == ["b"]


@pytest.mark.parametrize("image", [PICTURE.base64, "sha256:0", "", 5, {"digest": PICTURE.digest}])
def test_an_image_that_is_no_reference_is_left_out(blobs: Blobs, image: object) -> None:
    assert read_corrections(TASK, TABLE, [line({"designation": "a", "image": image})], blobs) == []


def test_rows_that_do_not_fit_schema_or_labels_are_left_out_with_a_warning(
    blobs: Blobs, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [
        line({"designation": ""}),
        line({"designation": "a", "colour": "red"}),
        line({"designation": "a"}, label="41"),
        line({"designation": "a"}),
    ]
    with caplog.at_level(logging.WARNING):
        assert len(read_corrections(TASK, TABLE, lines, blobs)) == 1
    assert "3 corrections do not fit the present row schema or labels" in caplog.text


def test_a_row_of_an_earlier_schema_is_upgraded_before_its_images_are_read(blobs: Blobs) -> None:
    def renamed(row: dict[str, object], _: int) -> dict[str, object]:
        return {"designation": row["title"], "image": row["picture"]}

    task = replace(TASK, row_version=2, upgrade=renamed)
    (correction,) = read_corrections(task, TABLE, [line({"title": "a", "picture": PICTURE.reference})], blobs)
    assert correction.row["image"] == PICTURE
