"""The article type of a shop's product, from its title and a small image: rows and recipes as for `products`."""

from __future__ import annotations

import io
import re
import tarfile

import numpy as np
import pandas as pd

from ai_api.datasets import Table
from ai_api.errors import InvalidData
from ai_api.images.reference import ImageRef
from ai_api.sources import PublicFile, Source, real_or_generated
from ai_api.task import Kind, Published, Task

from .data_files import CsvFile, checked_rows, image_of
from .products import BACKBONE, FUSION, IMAGE, TEXT, Product
from .synthetic import draw

HOME = "https://www.kaggle.com/datasets/paramaggarwal/fashion-product-images-small"
FOLDER = "products/fashion_small"
STYLES = PublicFile(f"{FOLDER}/styles.csv", HOME, login=True)
IMAGES = PublicFile(f"{FOLDER}/images.tar.gz", HOME, login=True)
SIZE = (60, 80)


def read_fashion(source: Source) -> Table:
    return real_or_generated(
        lambda: parse(source.read(STYLES), source.read(IMAGES)), lambda: parse(*generate_fashion()), "fashion"
    )


def parse(styles: bytes, images: bytes) -> Table:
    """The rows of styles.csv, with the images of an archive of `images/<id>.jpg`, all in memory: 32 MB."""
    columns = ("id", "articleType", "productDisplayName")
    # "NA" is a usage and a colour here, not a gap
    file = CsvFile(with_quoted_titles(styles), STYLES.name, columns, texts=columns)
    by_name = archived_images(images)
    rows: list[dict[str, object]] = [
        {"designation": title, "description": None, "image": by_name.get(f"{id_}.jpg")}
        for id_, title in zip(file.digits("id", unique=True), file.frame["productDisplayName"], strict=True)
    ]
    if not any(row["image"] for row in rows):
        raise InvalidData(f"{IMAGES.name}: has no image of any id in {STYLES.name}; expected are images/<id>.jpg.")
    truths = file.filled("articleType").to_numpy(dtype=object)
    return Table(checked_rows(rows, Product, file.where), truths, key=("designation",))


def with_quoted_titles(styles: bytes) -> bytes:
    """The same lines, with quotes around the titles that have commas: in Kaggle's file 22 lack them."""
    before = styles.partition(b"\n")[0].count(b",")
    return re.sub(rb'^((?:[^",\r\n]*,){%d})([^"\r\n]*,[^"\r\n]*)' % before, rb'\1"\2"', styles, flags=re.MULTILINE)


def archived_images(content: bytes) -> dict[str, ImageRef]:
    """The images of a tar archive by file name."""
    if not content.endswith(bytes(tarfile.BLOCKSIZE)):  # tarfile takes an archive that is cut off for a shorter one
        raise InvalidData(f"{IMAGES.name}: is no tar archive, or not a whole one.")
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive:
                if opened := archive.extractfile(member):
                    found[member.name.rpartition("/")[2]] = image_of(opened.read(), f"{IMAGES.name}, {member.name}")
    except (tarfile.TarError, KeyError) as error:  # KeyError: a link to a file that is not in it
        raise InvalidData(f"{IMAGES.name}: is no tar archive, or not a whole one.") from error
    return found


TYPES = (
    "Shirts", "Jeans", "Watches", "Track Pants", "Tshirts", "Socks", "Casual Shoes", "Belts", "Flip Flops", "Handbags",
)  # fmt: skip


def generate_fashion(rows: int = 1_500, seed: int = 0) -> tuple[bytes, bytes]:
    """Synthetic styles.csv and images.tar. A fifth of the titles do not contain the type; the images always show it."""
    random = np.random.default_rng(seed)
    kinds = np.minimum(random.geometric(0.25, rows) - 1, len(TYPES) - 1)
    makes, colours = ("Puma", "Titan", "Turtle", "Wrangler"), ("Blue", "NA", "Black", "White")
    titles = [
        f"{random.choice(makes)} Men {random.choice(colours)} {TYPES[kind] if random.random() < 0.8 else ''} {place}"
        for place, kind in enumerate(kinds)
    ]
    styles = pd.DataFrame(
        {"id": np.arange(rows) + 1_000, "articleType": [TYPES[kind] for kind in kinds], "productDisplayName": titles}
    )
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode="w") as archive:
        for id_, kind in zip(styles["id"], kinds, strict=True):
            drawn = draw(int(kind), SIZE, random)
            member = tarfile.TarInfo(f"images/{id_}.jpg")
            member.size = len(drawn)
            archive.addfile(member, io.BytesIO(drawn))
    return styles.to_csv(index=False).encode(), kept.getvalue()


HERE = "a fifth of the rows here, split by title"
TASK = Task(
    name="fashion",
    kind=Kind.CLASSIFICATION,
    row=Product,
    metric="weighted_f1",
    metrics=("weighted_f1", "macro_f1", "accuracy"),
    # 7,900 held-out rows: the interval of the difference between two versions reaches 0.004 to either side.
    margin=0.005,
    load=read_fashion,
    recipes=(TEXT, IMAGE, BACKBONE, FUSION),
    about="141 article types of a shop from title and picture",
    licence="Said to be MIT; the photos come from a shop's catalogue, so treat them as research material",
    published=(
        Published("none official; TF-IDF of titles, linear SVM", "weighted_f1", 0.956, HERE),
        Published("none official; TF-IDF of titles, linear SVM", "macro_f1", 0.911, HERE),
        Published("none official; pictures of 15x20, random forest", "weighted_f1", 0.766, HERE),
        Published("none official; pictures of 15x20, random forest", "macro_f1", 0.518, HERE),
    ),
)
