"""Product type codes of Rakuten France's challenge, from title, description and image."""

from __future__ import annotations

import logging
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from ai_api.datasets import Table
from ai_api.errors import InvalidData
from ai_api.images.reference import ImageRef
from ai_api.sources import PublicFile, Source, real_or_generated
from ai_api.task import Kind, Published, Recipe, Row, Task, Text

from .data_files import CsvFile, checked_rows, image_of
from .synthetic import write_products

log = logging.getLogger(__name__)

HOME = "https://challengedata.ens.fr/challenges/35"
FOLDER = "products/rakuten"
ROWS = PublicFile(f"{FOLDER}/X_train_update.csv", HOME, login=True)
CODES = PublicFile(f"{FOLDER}/Y_train_CVw08PX.csv", HOME, login=True)
NUMBER, CODE = "row number", "prdtypecode"
"""Columns of both: the first, which has no name, and the truth."""
IMAGE_FOLDER, IMAGE_ARCHIVE = f"{FOLDER}/images/image_train", f"{FOLDER}/images.zip"


class Product(Row):
    """A product of a shop. Any of its fields may be missing, but not all."""

    designation: Text | None = Field(None, max_length=1_000, examples=["Peter England Men Party Blue Jeans"])
    description: Text | None = Field(None, max_length=50_000, description="May hold HTML")
    image: ImageRef | None = Field(None, description="JPEG, PNG, WebP, GIF or BMP, of at most 8 MiB")

    @model_validator(mode="after")
    def has_content(self) -> Product:
        if not (self.designation or "").strip() and not (self.description or "").strip() and self.image is None:
            raise PydanticCustomError("empty_product", "give at least one of designation, description and image")
        return self


def read_products(source: Source) -> Table:
    folder = source.raw / "generated" / "products"
    return real_or_generated(lambda: _read(source), lambda: generate_products(folder), "products")


def generate_products(folder: Path, rows: int = 1_500, seed: int = 0) -> Table:
    """Synthetic products, written once under `folder` as the challenge's files, then read like those."""
    place = folder / f"{rows}-{seed}"
    if not place.exists():
        folder.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=folder))
        write_products(beside / FOLDER, rows, seed)
        try:
            beside.rename(place)
        except OSError:  # another process has written it
            shutil.rmtree(beside)
    return _read(Source(raw=place))


def _read(source: Source) -> Table:
    columns = ("designation", "description", "productid", "imageid")
    rows = CsvFile(source.read(ROWS), ROWS.name, columns, texts=(NUMBER, *columns), first=NUMBER)
    codes = CsvFile(source.read(CODES), CODES.name, [CODE], texts=(NUMBER, CODE), first=NUMBER)
    numbers, code_numbers = (file.digits(NUMBER, unique=True).astype(int) for file in (rows, codes))
    rows.refuse(~numbers.isin(code_numbers), NUMBER, f"has a number that {CODES.name} lacks")
    codes.refuse(~code_numbers.isin(numbers), NUMBER, f"has a number that {ROWS.name} lacks")
    shop = Shop(source)
    found: list[dict[str, object]] = [
        {"designation": title, "description": text or None, "image": shop.image(image, product)}
        for title, text, product, image in zip(
            rows.frame["designation"],
            rows.frame["description"],
            rows.digits("productid"),
            rows.digits("imageid"),
            strict=True,
        )
    ]
    shop.check(found)
    by_number = codes.digits(CODE).set_axis(code_numbers)
    return Table(
        checked_rows(found, Product, rows.where),
        by_number.loc[numbers].to_numpy(dtype=object),
        key=("designation",),
    )


class Shop:
    """The images of the challenge: files of an unpacked folder, or members of the published archive.

    They are 2 GB, so only their digests stay in memory; an image is read again at each use.
    """

    def __init__(self, source: Source) -> None:
        self._members: dict[str, str] = {}
        self._folder, archive = source.find(IMAGE_FOLDER), source.find(IMAGE_ARCHIVE)
        if self._folder:
            if not self._folder.is_dir():
                raise InvalidData(f"{IMAGE_FOLDER}: is no folder.")
        elif archive:
            self._archive = _opened(archive)
            inside = (name for name in self._archive.namelist() if "image_train/" in name)
            self._members = {name.rpartition("/")[2]: name for name in inside}
        else:
            log.warning("There are no images in %s: neither images/image_train nor images.zip", FOLDER)
        self._has_images = bool(self._folder or archive)

    def image(self, image: object, product: object) -> ImageRef | None:
        """The image of a row, by the numbers in its columns `imageid` and `productid`; None when there is none."""
        name = f"image_{image}_product_{product}.jpg"
        if self._folder:
            path = self._folder / name
            return _read_image(path.read_bytes, f"{IMAGE_FOLDER}/{name}") if path.exists() else None
        if name not in self._members:
            return None
        return _read_image(partial(self._archive.read, self._members[name]), f"{IMAGE_ARCHIVE}, {name}")

    def check(self, rows: Sequence[Mapping[str, object]]) -> None:
        """InvalidData when there are images but none of a row."""
        if self._has_images and not any(row["image"] for row in rows):
            raise InvalidData(
                f"{IMAGE_FOLDER if self._folder else IMAGE_ARCHIVE}: has no image of any row; expected are"
                " image_<imageid>_product_<productid>.jpg."
            )


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise InvalidData(f"{IMAGE_ARCHIVE}: is no zip archive, or not a whole one.") from error
    except OSError as error:
        raise InvalidData(f"{IMAGE_ARCHIVE}: cannot be read: {error.strerror}.") from error


def _read_image(read: Callable[[], bytes], name: str) -> ImageRef:
    """The image that `read` returns now and at each use; only its digest is kept."""
    try:
        return ImageRef(image_of(read(), name).digest, read)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InvalidData(f"{name}: is damaged.") from error
    except OSError as error:
        raise InvalidData(f"{name}: cannot be read: {error.strerror}.") from error


# Recipes of any task with these rows. Their parameters were chosen on a part of the training rows.
TEXT = Recipe("svm", text="tfidf", params={"class_weight": "balanced"})
IMAGE = Recipe("cnn", image="pixels")
BACKBONE = Recipe("logreg", image="backbone", is_default=False)
FUSION = Recipe("fusion", members=(TEXT, IMAGE), params={"refit": [TEXT.name]})

RAKUTEN = "Rakuten's full challenge set, test rows"
TASK = Task(
    name="products",
    kind=Kind.CLASSIFICATION,
    row=Product,
    metric="weighted_f1",
    metrics=("weighted_f1", "macro_f1", "accuracy"),
    # 17,000 held-out rows: the interval of the difference between two versions reaches 0.004 to either side.
    margin=0.005,
    load=read_products,
    recipes=(TEXT, IMAGE, BACKBONE, FUSION),
    about="Product type codes of a marketplace from title, description and picture, in three languages",
    licence="Research and teaching, after accepting the challenge's terms; may not be passed on",
    published=(
        Published("the challenge, text", "weighted_f1", 0.8113, RAKUTEN),
        Published("the challenge, image (ResNet50)", "weighted_f1", 0.5534, RAKUTEN),
        Published("a leading team of SIGIR eCom 2020, both", "macro_f1", 0.919, "the contest's first test set"),
    ),
)
