"""Products and fashion: the real readers on files of the real layout, and rows that may lack any part but not all."""

from __future__ import annotations

import gzip
import logging
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from ai_api.datasets import Table, split
from ai_api.images.reference import ImageRef
from ai_api.pipeline import build_pipeline
from ai_api.sources import Source
from ai_api.task import Modality
from ai_api.tasks import fashion, products
from ai_api.tasks.products import FOLDER, Product
from ai_api.tasks.synthetic import write_products
from tests.ai.support.drawn import plain

pytestmark = pytest.mark.training

ROWS = 300


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The challenge's files, generated: X_train_update.csv, Y_train_CVw08PX.csv, images.zip."""
    root = tmp_path_factory.mktemp("mirror")
    write_products(root / FOLDER, ROWS, seed=1)
    return root


@pytest.fixture(scope="module")
def table(layout: Path) -> Table:
    return products.read_products(Source(raw=layout / "none", mirror=layout))


def test_the_generated_files_have_the_challenges_layout(layout: Path) -> None:
    rows = pd.read_csv(layout / FOLDER / "X_train_update.csv", keep_default_na=False)
    codes = pd.read_csv(layout / FOLDER / "Y_train_CVw08PX.csv")
    assert list(rows) == ["Unnamed: 0", "designation", "description", "productid", "imageid"]
    assert list(codes) == ["Unnamed: 0", "prdtypecode"]
    assert codes["prdtypecode"].nunique() == 27
    texts = " ".join(rows["description"])
    assert all(sign in texts for sign in ("<br />", "&amp;", "&eacute;", "&#39;"))
    assert 0.2 < (rows["description"] == "").mean() < 0.5
    assert all(rows["designation"].str.contains(word).any() for word in ("neuf", "new", "neu"))
    with zipfile.ZipFile(layout / FOLDER / "images.zip") as archive:
        names = archive.namelist()
    assert 0.85 * ROWS < len(names) < ROWS
    assert all(name.startswith("images/image_train/image_") and name.endswith(".jpg") for name in names)


def test_rows_codes_and_images_are_joined(layout: Path, table: Table) -> None:
    rows = pd.read_csv(layout / FOLDER / "X_train_update.csv", keep_default_na=False)
    codes = pd.read_csv(layout / FOLDER / "Y_train_CVw08PX.csv")["prdtypecode"]
    assert not table.synthetic
    assert table.truths.tolist() == [str(code) for code in codes]
    assert [row["designation"] for row in table.rows] == rows["designation"].tolist()
    assert [row["description"] or "" for row in table.rows] == rows["description"].tolist()
    with zipfile.ZipFile(layout / FOLDER / "images.zip") as archive:
        for row, image, product in zip(table.rows[:20], rows["imageid"], rows["productid"], strict=False):
            name = f"images/image_train/image_{image}_product_{product}.jpg"
            found = row["image"]
            assert (found is None) == (name not in archive.namelist())
            assert found is None or (isinstance(found, ImageRef) and found.read() == archive.read(name))


def test_an_unpacked_folder_of_images_gives_the_same_rows_and_they_stay_files(
    layout: Path, table: Table, tmp_path: Path
) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    for name in ("X_train_update.csv", "Y_train_CVw08PX.csv"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((layout / FOLDER / name).read_bytes()))
    with zipfile.ZipFile(layout / FOLDER / "images.zip") as archive:
        archive.extractall(folder)
    unpacked = products.read_products(Source(raw=tmp_path))
    assert unpacked.digest() == table.digest()
    assert unpacked.rows == table.rows
    first = next(row["image"] for row in unpacked.rows if row["image"])
    assert isinstance(first, ImageRef)
    for path in folder.rglob("*.jpg"):
        path.write_bytes(b"changed")
    assert first.read() == b"changed"


def test_without_images_the_rows_are_read_with_a_warning(
    layout: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FOLDER).mkdir(parents=True)
    for name in ("X_train_update.csv", "Y_train_CVw08PX.csv"):
        (tmp_path / FOLDER / name).write_bytes((layout / FOLDER / name).read_bytes())
    with caplog.at_level(logging.WARNING):
        found = products.read_products(Source(raw=tmp_path))
    assert len(found) == ROWS
    assert all(row["image"] is None for row in found.rows)
    assert "no images" in caplog.text


def test_without_files_generated_ones_are_written_once_and_read(tmp_path: Path) -> None:
    first, again = (products.read_products(Source(raw=tmp_path)) for _ in range(2))
    assert first.synthetic
    assert first.rows == again.rows
    assert first.digest() == again.digest()
    assert len(list((tmp_path / "generated" / "products").iterdir())) == 1


def test_rows_with_the_same_title_stay_on_one_side(table: Table) -> None:
    twice = Table(
        [*table.rows, *({**row, "image": ImageRef.of_bytes(plain()), "description": "other"} for row in table.rows)],
        np.concatenate([table.truths, table.truths]),
        key=table.key,
    )
    parts = split(twice)
    titles = [{row["designation"] for row in side.rows} for side in (parts.train, parts.held_out, parts.unseen)]
    assert all(titles)
    assert not titles[0] & titles[1] | titles[0] & titles[2] | titles[1] & titles[2]


def test_rows_without_a_title_are_not_all_on_one_side(table: Table) -> None:
    images = [ImageRef.of_bytes(plain((shade, 0, 0), (4, 4))) for shade in range(100)]
    sides = [table.side({"designation": None, "image": image}) for image in images]
    assert len(set(sides)) == len(images)
    assert table.side({"designation": "A b", "image": images[0]}) == table.side({"designation": "a  B"})


STYLES = (
    "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,productDisplayName\n"
    '7,Men,Apparel,Topwear,Shirts,NA,Fall,2011,NA,"Turtle, the Check Shirt"\n'
    "8,Women,Accessories,Watches,Watches,Silver,Winter,2016,Casual,NA\n"
)


def test_fashion_reads_titles_types_and_images_and_reads_na_as_a_word() -> None:
    _, images = fashion.generate_fashion(rows=4)
    table = fashion.parse(STYLES.replace("7,Men", "1000,Men").encode(), images)
    assert table.truths.tolist() == ["Shirts", "Watches"]
    assert [row["designation"] for row in table.rows] == ["Turtle, the Check Shirt", "NA"]
    assert [row["description"] for row in table.rows] == [None, None]
    assert isinstance(table.rows[0]["image"], ImageRef)
    assert table.rows[1]["image"] is None


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_titles_of_fashion_may_have_commas_without_quotes(end: str) -> None:
    _, images = fashion.generate_fashion(rows=4)
    lines = [*STYLES.splitlines(), "1000,Men,Apparel,Topwear,Shirts,Red,Fall,2011,Casual,Red, blue,green"]
    table = fashion.parse(end.join([*lines, ""]).encode(), images)
    assert [row["designation"] for row in table.rows] == ["Turtle, the Check Shirt", "NA", "Red, blue,green"]


def test_fashion_finds_the_mirrors_files_however_they_are_packed(tmp_path: Path) -> None:
    styles, images = fashion.generate_fashion(rows=30)
    folder = tmp_path / fashion.FOLDER
    folder.mkdir(parents=True)
    (folder / "styles.csv.gz").write_bytes(gzip.compress(styles))
    (folder / "images.tar.gz").write_bytes(gzip.compress(images))
    table = fashion.read_fashion(Source(raw=tmp_path / "raw", mirror=tmp_path))
    assert (len(table), table.synthetic) == (30, False)
    assert all(row["image"] for row in table.rows)


@pytest.mark.parametrize("values", [{}, {"designation": " "}, {"designation": "", "description": ""}, {"image": None}])
def test_a_product_without_content_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="give at least one of designation, description and image"):
        Product.model_validate(values)


def test_any_part_of_a_product_is_enough() -> None:
    for values in ({"designation": "a"}, {"description": "a"}, {"image": plain()}):
        assert Product.model_validate(values)


def test_both_tasks_share_row_and_recipes_and_generated_rows_fit_them() -> None:
    assert fashion.TASK.row is products.TASK.row is Product
    assert fashion.TASK.recipes == products.TASK.recipes
    assert fashion.TASK.recipes[0].name == "tfidf+svm"
    assert Product.columns(Modality.IMAGE) == ["image"]
    for task, table in ((products.TASK, _generated()), (fashion.TASK, fashion.parse(*fashion.generate_fashion(200)))):
        rows = [task.row.model_validate(row).model_dump() for row in table.rows]
        assert rows == table.rows


def _generated() -> Table:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return products.generate_products(Path(folder), 100)


def test_the_starter_learns_generated_products(tmp_path: Path) -> None:
    from ai_api.datasets import frame

    parts = split(products.generate_products(tmp_path, 800))
    columns = Product.modalities()
    made = build_pipeline(products.TASK, products.TASK.recipes[0], seed=0)
    made.fit(frame(parts.train.rows, columns), parts.train.truths)
    assert (made.predict(frame(parts.held_out.rows, columns)) == parts.held_out.truths).mean() > 0.7
