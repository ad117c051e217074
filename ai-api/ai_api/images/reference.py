"""Images, identified by the hash of their bytes, which are read only when they are needed."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from ai_api.errors import TooLarge

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_BYTES = 8 * 2**20
"""Largest image in bytes."""
MAX_PIXELS = 25_000_000
"""Largest image in pixels: a small file can decode into a very large image."""
MAX_DECODED_BYTES = 64_000_000
"""Most memory that decoding one image takes."""
LARGE_BYTES = 16_000_000
"""An image that takes more memory while it is decoded is large."""
LARGE = threading.Lock()
"""One large image is in memory at a time."""
MAX_CALL_PIXELS = 4 * MAX_PIXELS
"""Most pixels of all images in one call."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_DATA_URI_HEAD = 300
"""Most bytes of a data URI before its comma: media type and parameters."""
URL_SAFE = bytes.maketrans(b"-_", b"+/")
NOT_WHOLE = f"must be a whole image in one of the formats {', '.join(FORMATS)}"
SMALLEST = (1, 1)
"""Size at which an image is decoded only to see whether it is whole: a JPEG's last step is then mostly left out."""
REFERENCE = re.compile(r"sha256:([0-9a-f]{64})")


class InvalidImage(ValueError):
    """What is wrong with an image. The message never repeats the input."""


class ImageRef:
    """An encoded image. Two are equal when their digests (sha256 of the bytes, in hex) are; `read` returns the bytes.
    `pixels` is 0 when it is not known.

    A typed row holds this object. In JSON a caller sends base64, and a stored row holds `sha256:<digest>`.
    """

    # no dataclass: pydantic would turn one into a dict when it dumps the row

    def __init__(self, digest: str, read: Callable[[], bytes], pixels: int = 0) -> None:
        self.digest = digest
        self.read = read
        self.pixels = pixels

    def __repr__(self) -> str:
        return f"ImageRef({self.reference})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImageRef) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @classmethod
    def of_bytes(cls, content: bytes, pixels: int = 0) -> ImageRef:
        return cls(hashlib.sha256(content).hexdigest(), partial(bytes, content), pixels)

    @classmethod
    def of_file(cls, path: Path) -> ImageRef:
        """Reads the file for its digest and again each time it is needed: a large data set does not fit in memory."""
        return cls(hashlib.sha256(path.read_bytes()).hexdigest(), path.read_bytes)

    @property
    def reference(self) -> str:
        """How a stored row refers to the image."""
        return f"sha256:{self.digest}"

    @property
    def base64(self) -> str:
        return base64.b64encode(self.read()).decode()

    @classmethod
    def parse(cls, value: object, budget: PixelBudget | None = None) -> ImageRef:
        """From a caller's input: bytes, or text in base64, of a whole image in one of FORMATS; else InvalidImage.

        Takes the pixels from the budget, TooLarge when there are not enough, and then decodes the image, which takes
        up to half a second. A reference is refused: it may name another person's image.
        """
        if isinstance(value, ImageRef):
            return value
        if isinstance(value, str):
            value = _of_base64(value)
        if not isinstance(value, bytes):
            raise InvalidImage("must be an image: base64 in JSON, a file in a form")
        if len(value) > MAX_BYTES:
            raise InvalidImage(f"must have at most {MAX_BYTES // 2**20} MiB")
        with _header(value) as image:
            pixels = image.width * image.height
            if budget is not None:
                budget.take(pixels)
            with _loaded(image, SMALLEST):
                pass
        return cls.of_bytes(value, pixels)

    @classmethod
    def _validate(cls, value: object, info: ValidationInfo) -> ImageRef:
        try:
            return cls.parse(value, info.context)
        except InvalidImage as error:
            raise PydanticCustomError("image", str(error)) from None

    @classmethod
    def __get_pydantic_core_schema__(cls, _: object, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            cls._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda image: image.reference, when_used="json"
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _: CoreSchema, __: GetJsonSchemaHandler) -> dict[str, object]:
        return {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/*"}


def media_type(content: bytes) -> str:
    """The media type of an accepted image; only its header is read."""
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        # MPO is Pillow's name for a JPEG with more images after the first, as many cameras write it
        return Image.MIME["JPEG" if image.format == "MPO" else str(image.format)]


class PixelBudget:
    """The pixels that one call may still have decoded."""

    def __init__(self, pixels: int = MAX_CALL_PIXELS) -> None:
        self._pixels = pixels

    def take(self, pixels: int) -> None:
        """TooLarge when so many are not left."""
        self._pixels -= pixels
        if self._pixels < 0:
            raise TooLarge(f"The images of one call have at most {MAX_CALL_PIXELS // 1_000_000} million pixels.")


@contextmanager
def opened(content: bytes, shrink: tuple[int, int] | None = None) -> Iterator[Image]:
    """The decoded image (of an animation the first frame); InvalidImage when it cannot be decoded.

    With `shrink`, a JPEG may be decoded at a smaller size, at least (width, height), which is quicker.
    """
    with _header(content) as image, _loaded(image, shrink):
        yield image


@contextmanager
def _loaded(image: Image, shrink: tuple[int, int] | None) -> Iterator[None]:
    """Decodes the image. A large one waits until no other large one is in use."""
    with ExitStack() as stack:
        pixels = image.width * image.height
        try:
            if shrink:
                image.draft("RGB", shrink)
            if not _is_progressive(image):
                pixels = image.width * image.height
            if pixels * _bytes_per_pixel(image) > LARGE_BYTES:
                stack.enter_context(LARGE)
            image.load()
        except Exception:  # on malformed bytes the decoders raise many kinds of errors
            raise InvalidImage(NOT_WHOLE) from None
        yield


def _header(content: bytes) -> Image:
    """The image, not decoded yet; InvalidImage when its header shows too many pixels."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # our bound is stricter, and Pillow's only warns up to twice its size
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Exception:  # as in `_loaded`
        raise InvalidImage(NOT_WHOLE) from None
    if image.width * image.height > (most := _most_pixels(image)):
        image.close()
        raise InvalidImage(f"must have at most {most // 1_000_000} million pixels in its format")
    return image


def _most_pixels(image: Image) -> int:
    """Most pixels of an image in this format and mode: those that can be decoded within MAX_DECODED_BYTES. Of a JPEG
    that is not progressive only a smaller image is decoded.
    """
    if image.format in ("JPEG", "MPO") and not _is_progressive(image):
        return MAX_PIXELS
    return min(MAX_PIXELS, MAX_DECODED_BYTES // _bytes_per_pixel(image))


def _bytes_per_pixel(image: Image) -> int:
    """Memory that decoding takes. WebP's decoder has four copies; a progressive JPEG has coefficients of 16 bits."""
    if image.format == "WEBP":
        return 16
    if _is_progressive(image):
        return 6
    return 1 if image.mode in ("1", "L", "P") else 4


def _is_progressive(image: Image) -> bool:
    return bool(image.info.get("progressive"))


def _of_base64(text: str) -> bytes:
    """The bytes of base64, standard or URL-safe, with or without padding and white space, or of any data URI."""
    if len(text) > MAX_BYTES * 3 // 2:
        raise InvalidImage(f"must have at most {MAX_BYTES // 2**20} MiB")
    try:
        content = text.encode("ascii")
        if text[:5].lower() == "data:":
            head, comma, content = content.partition(b",")
            if not comma or len(head) > MAX_DATA_URI_HEAD:
                raise ValueError
            content = _unescaped(content)
            if not head.rstrip().lower().endswith(b";base64"):
                return content
        content = content.translate(URL_SAFE, b" \t\r\n\v\f").rstrip(b"=")
        return base64.b64decode(content + b"=" * (-len(content) % 4), validate=True)
    except ValueError:  # UnicodeEncodeError and binascii.Error are kinds of it
        raise InvalidImage("must be the base64 of an image") from None


def _unescaped(content: bytes) -> bytes:
    """The bytes of text with percent escapes. They are those of quoted-printable with another sign, for which there is
    a decoder that takes no more memory than the result.
    """
    return binascii.a2b_qp(content.replace(b"=", b"=3D").replace(b"%", b"=")) if b"%" in content else content


def encode_row(row: Mapping[str, object]) -> dict[str, object]:
    """A row of the data set as JSON, with images as base64. (A caller's row is stored with references instead.)"""
    return {name: value.base64 if isinstance(value, ImageRef) else value for name, value in row.items()}


def decode_row(row: Mapping[str, object], columns: Mapping[str, str]) -> dict[str, object]:
    """The inverse of `encode_row`. `columns` has the modality of each column."""
    return {
        name: ImageRef.of_bytes(base64.b64decode(value))
        if columns.get(name) == "image" and isinstance(value, str)
        else value
        for name, value in row.items()
    }
