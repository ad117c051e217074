"""Pictures: known by the hash of their bytes, read only when something looks at them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_BYTES = 8 * 2**20
"""Largest picture in bytes."""
MAX_PIXELS = 25_000_000
"""Largest picture in pixels: a small file can unfold into a very large one."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
DATA_URL = re.compile(r"data:image/[\w.+-]{1,40};base64,", re.ASCII)
REFERENCE = re.compile(r"sha256:([0-9a-f]{64})")


class InvalidImage(ValueError):
    """What is wrong with a picture, in words that never repeat it."""


class ImageRef:
    """An encoded picture. Two are equal when their bytes are, which `digest` (sha256, in hex) stands for.

    A row carries it as this object; in JSON a caller sends it as base64, and what is stored of it is `sha256:<digest>`.
    """

    # no dataclass: pydantic would take one apart when it dumps the row

    def __init__(self, digest: str, read: Callable[[], bytes]) -> None:
        self.digest = digest
        self.read = read

    def __repr__(self) -> str:
        return f"ImageRef({self.reference})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImageRef) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @classmethod
    def of_bytes(cls, content: bytes) -> ImageRef:
        return cls(hashlib.sha256(content).hexdigest(), partial(bytes, content))

    @classmethod
    def of_file(cls, path: Path) -> ImageRef:
        """Reads the file once for its digest and again whenever it is looked at: a large set does not fit in memory."""
        return cls(hashlib.sha256(path.read_bytes()).hexdigest(), path.read_bytes)

    @property
    def reference(self) -> str:
        """What stands for the picture in a stored row."""
        return f"sha256:{self.digest}"

    @property
    def base64(self) -> str:
        return base64.b64encode(self.read()).decode()

    @classmethod
    def parse(cls, found: object) -> ImageRef:
        """From a caller: bytes, or text in base64, of a whole picture in one of FORMATS; else InvalidImage.

        Decodes the picture, which takes up to half a second. A reference is refused: it may be of another's picture.
        """
        if isinstance(found, ImageRef):
            return found
        if isinstance(found, str):
            found = _of_base64(found)
        if not isinstance(found, bytes):
            raise InvalidImage("must be a picture: base64 in JSON, a file in a form")
        if len(found) > MAX_BYTES:
            raise InvalidImage(f"must have at most {MAX_BYTES // 2**20} MiB")
        with opened(found):
            return cls.of_bytes(found)

    @classmethod
    def _validate(cls, found: object) -> ImageRef:
        try:
            return cls.parse(found)
        except InvalidImage as error:
            raise PydanticCustomError("picture", str(error)) from None

    @classmethod
    def __get_pydantic_core_schema__(cls, _: object, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda picture: picture.reference, when_used="json"
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _: CoreSchema, __: GetJsonSchemaHandler) -> dict[str, object]:
        return {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/*"}


def media_type(content: bytes) -> str:
    """What HTTP calls the format of a picture that was accepted; only its head is looked at."""
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        # MPO is what Pillow calls a JPEG with further pictures behind its first, as many cameras write it
        return Image.MIME["JPEG" if image.format == "MPO" else str(image.format)]


@contextmanager
def opened(content: bytes, shrink: tuple[int, int] | None = None) -> Iterator[Image]:
    """The picture, decoded (of an animation the first frame); InvalidImage when that does not work.

    With `shrink`, a JPEG may come smaller than it is, though at least as large as (width, height): that is quicker.
    """
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # ours is the stricter bound, and theirs only warns up to twice its size
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        if image.width * image.height <= MAX_PIXELS:
            if shrink:
                image.draft("RGB", shrink)
            image.load()
    except Exception:  # hostile bytes make the decoders raise a dozen kinds of errors, none of them ours
        raise InvalidImage(f"must be a whole picture in one of the formats {', '.join(FORMATS)}") from None
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise InvalidImage(f"must have at most {MAX_PIXELS // 1_000_000} million pixels")
        yield image


def _of_base64(text: str) -> bytes:
    if len(text) > MAX_BYTES * 3 // 2:
        raise InvalidImage(f"must have at most {MAX_BYTES // 2**20} MiB")
    if prefix := DATA_URL.match(text):
        text = text[prefix.end() :]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidImage("must be the base64 of a picture") from None


def encode_row(row: Mapping[str, object]) -> dict[str, object]:
    """A row of the data set as JSON carries it whole, pictures as base64. A caller's row is stored with references."""
    return {name: value.base64 if isinstance(value, ImageRef) else value for name, value in row.items()}


def decode_row(row: Mapping[str, object], columns: Mapping[str, str]) -> dict[str, object]:
    """The row that `encode_row` was given; `columns` says which of them are images."""
    return {
        name: ImageRef.of_bytes(base64.b64decode(value))
        if columns.get(name) == "image" and isinstance(value, str)
        else value
        for name, value in row.items()
    }
