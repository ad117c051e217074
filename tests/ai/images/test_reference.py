"""Images of callers: valid images are accepted; everything else is refused, and the message never repeats it."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import struct
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from ai_api.datasets import frame, row_hash
from ai_api.images.reference import FORMATS, MAX_BYTES, ImageRef, InvalidImage, decode_row, encode_row, media_type
from ai_api.tasks.products import Product
from tests.ai.support.drawn import encoded, plain

CONTENT = plain(format_="JPEG")
MARK = "zebra-4711"


def png(width: int, height: int) -> bytes:
    """A PNG whose header has this size, while its data is small."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    lines = zlib.compress(bytes(min(10_000_000, height * (1 + (width + 7) // 8))), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def png_with_large_text() -> bytes:
    """A PNG with a text chunk of a few kilobytes that decompresses to 200 MB."""
    note = b"note\0\0" + zlib.compress(bytes(200_000_000), 9)
    chunk = struct.pack(">I", len(note)) + b"zTXt" + note + struct.pack(">I", zlib.crc32(b"zTXt" + note))
    return plain()[:33] + chunk + plain()[33:]


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_an_image_is_accepted_as_base64_as_a_data_url_and_as_bytes(format_: str) -> None:
    content = plain(format_=format_)
    text = base64.b64encode(content).decode()
    wrapped = "\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    for found in (text, wrapped, f"data:image/{format_.lower()};base64,{text}", content, ImageRef.of_bytes(content)):
        image = ImageRef.parse(found)
        assert image == ImageRef.of_bytes(content)
        assert image.read() == content


@pytest.mark.parametrize(
    "content",
    [
        encoded(Image.new("CMYK", (9, 9)), "JPEG"),
        encoded(Image.new("I;16", (9, 9), 40_000)),
        encoded(Image.new("RGBA", (9, 9), (1, 2, 3, 4))),
        encoded(Image.new("P", (9, 9)), "GIF"),
        encoded(Image.new("1", (9, 9)), "BMP"),
        encoded(Image.new("RGB", (1, 1))),
        encoded(Image.new("L", (9, 9)), "GIF", save_all=True, append_images=[Image.new("L", (9, 9), 200)] * 50),
        encoded(Image.new("L", (6_000, 4_000)), compress_level=1),
    ],
    ids=["CMYK", "16 bits", "alpha", "palette", "bilevel", "one pixel", "animation", "24 million pixels"],
)
def test_unusual_images_are_accepted(content: bytes) -> None:
    assert ImageRef.parse(content).read() == content


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (f"sha256:{'0' * 64}", "must be the base64 of an image"),
        (ImageRef.of_bytes(CONTENT).reference, "must be the base64 of an image"),
        (MARK, "must be a whole image"),  # letters, digits and "-": URL-safe base64
        (f"{MARK}.", "must be the base64 of an image"),
        ("data:image/png;base64" * 20 + ",AAAA", "must be the base64 of an image"),
        (" A" * (MAX_BYTES // 2), "must be a whole image"),
        ("data:," + "%41" * (MAX_BYTES // 3), "must be a whole image"),
        ("é", "must be the base64 of an image"),
        (f"data:image/png,{MARK}", "must be a whole image"),
        ("http://127.0.0.1/image.png", "must be the base64 of an image"),
        ("", "must be a whole image"),
        (base64.b64encode(MARK.encode()).decode(), "must be a whole image"),
        (b"", "must be a whole image"),
        (CONTENT[:-20], "must be a whole image"),
        (CONTENT[:200], "must be a whole image"),
        (plain()[:-30], "must be a whole image"),
        (encoded(Image.new("RGB", (9, 9)), "TIFF"), "must be a whole image"),
        (encoded(Image.new("RGB", (9, 9)), "PPM"), "must be a whole image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "must be a whole image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "must be a whole image"),
        (png_with_large_text(), "must be a whole image"),
        (png(100_000, 100_000), "at most 25 million pixels"),
        (png(5_001, 5_000), "at most 25 million pixels"),
        (png(2**31 - 1, 2**31 - 1), "must"),
        (bytes(MAX_BYTES + 1), "at most 8 MiB"),
        ("A" * (2 * MAX_BYTES), "at most 8 MiB"),
        (5, "must be an image"),
        (["a"], "must be an image"),
        ({"digest": "0" * 64}, "must be an image"),
    ],
)
def test_what_is_no_image_is_refused_quickly_and_not_repeated(value: object, message: str) -> None:
    started = time.process_time()
    with pytest.raises(InvalidImage, match=message) as error:
        ImageRef.parse(value)
    assert time.process_time() - started < 1
    assert MARK not in str(error.value)


def test_the_media_type_of_an_image_is_that_of_its_format() -> None:
    types = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif", "BMP": "image/bmp"}
    assert set(types) == set(FORMATS)
    assert {format_: media_type(plain(format_=format_)) for format_ in FORMATS} == types
    further = {"save_all": True, "append_images": [Image.new("RGB", (8, 8), "blue")]}
    several = encoded(Image.new("RGB", (8, 8), "red"), "MPO", **further)
    assert ImageRef.parse(several).digest
    assert media_type(several) == "image/jpeg"


@settings(deadline=None, max_examples=200)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP"]),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)), max_size=6),
    cut=st.floats(0, 1),
)
def test_damaged_files_of_every_format_are_accepted_or_refused_without_another_error(
    kind: str, changes: list[tuple[float, bytes]], cut: float
) -> None:
    content = bytearray(encoded(Image.linear_gradient("L").resize((32, 32)), kind))
    for place, new in changes:
        at = int(place * len(content))
        content[at : at + len(new)] = new
    try:
        ImageRef.parse(bytes(content[: int(len(content) * cut) or 1]))
    except InvalidImage:
        return


def test_strict_validation_of_a_row_accepts_an_image_and_names_what_is_wrong_with_another() -> None:
    text = base64.b64encode(CONTENT).decode()
    row = Product.model_validate({"image": text}, strict=True)
    assert row.image == ImageRef.of_bytes(CONTENT)
    with pytest.raises(ValidationError) as error:
        Product.model_validate({"image": f"{MARK}!"}, strict=True)
    (wrong,) = error.value.errors(include_input=False)
    assert (wrong["type"], wrong["loc"], wrong["msg"]) == ("image", ("image",), "must be the base64 of an image")


def test_a_row_holds_the_image_for_the_model_and_its_reference_when_stored() -> None:
    image = ImageRef.of_bytes(CONTENT)
    row = Product(designation="A shirt", image=image)
    assert row.model_dump() == {"designation": "A shirt", "description": None, "image": image}
    assert row.model_dump()["image"].read() == CONTENT
    assert row.model_dump(mode="json")["image"] == f"sha256:{image.digest}"
    assert json.loads(row.model_dump_json())["image"] == image.reference


def test_images_are_equal_when_their_bytes_are(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(CONTENT)
    here, there = ImageRef.of_file(tmp_path / "a.jpg"), ImageRef.of_bytes(CONTENT)
    assert here == there
    assert len({here, there, copy.deepcopy(there), pickle.loads(pickle.dumps(here))}) == 1
    assert here != ImageRef.of_bytes(plain())
    assert row_hash({"image": here}) == row_hash({"image": there, "text": None})
    assert row_hash({"image": here}) != row_hash({"image": ImageRef.of_bytes(plain())})


def test_a_row_of_the_data_set_goes_through_json_and_back() -> None:
    columns = Product.modalities()
    for row in ({"designation": "a", "image": ImageRef.of_bytes(CONTENT)}, {"designation": "YWJj", "image": None}):
        again = decode_row(json.loads(json.dumps(encode_row(row))), columns)
        assert again == row
        assert frame([again], columns).equals(frame([row], columns))


def test_the_schema_of_a_row_shows_how_an_image_is_sent() -> None:
    shown = Product.model_json_schema()["properties"]["image"]["anyOf"][0]
    assert shown == {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/*"}
