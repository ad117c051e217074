"""A data file that is there and wrong stops a training and is named with its line; rows are made only without files."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ai_api.datasets import Table
from ai_api.errors import InvalidData
from ai_api.sources import Source
from ai_api.tasks import churn, find_tasks, fraud
from ai_api.tasks.fashion import IMAGES, STYLES
from ai_api.tasks.housing import FILE as HOUSES
from ai_api.tasks.products import CODES, IMAGE_ARCHIVE, IMAGE_FOLDER, ROWS
from ai_api.tasks.tweeteval import FOLDER
from tests.ai.support.drawn import plain

TWEETS = f"{FOLDER}/sentiment"
TEXTS, LABELS = f"{TWEETS}/train_text.txt", f"{TWEETS}/train_labels.txt"
HOUSE_LINES = (
    b"longitude,latitude,housing_median_age,total_rooms,total_bedrooms,population,households,median_income,"
    b"median_house_value,ocean_proximity\n"
    b"-122.23,37.88,41.0,880.0,129.0,322.0,126.0,8.3252,452600.0,NEAR BAY\n"
    b"-122.22,37.86,21.0,7099.0,,2401.0,1138.0,8.3014,358500.0,INLAND\n"
)
PRODUCT_LINES = (
    b",designation,description,productid,imageid\n"
    b'0,livre,"two\nlines",4001,9001\n'
    b"1,console,,4002,9002\n"
    b"2,chat,,4003,9003\n"
)
STYLE_LINES = b"id,articleType,usage,productDisplayName\n7,Shirts,NA,One\n8,Watches,NA,Two\n"


def tar_of(files: Mapping[str, bytes]) -> bytes:
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return kept.getvalue()


def zip_of(files: Mapping[str, bytes]) -> bytes:
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return kept.getvalue()


SHOWN = plain((1, 2, 3), (4, 4))
PLACES: dict[str, dict[str, bytes]] = {
    "tweets": {
        TEXTS: b"one\ntwo\nthree\n",
        LABELS: b"0\n1\n2\n",
        f"{TWEETS}/val_text.txt": b"four\n",
        f"{TWEETS}/val_labels.txt": b"1\n",
    },
    "housing": {HOUSES.name: HOUSE_LINES},
    "fraud": {fraud.FILE.name: fraud.generate_file(20, 0)},
    "churn": {churn.FILE.name: churn.generate_file(20, 0)},
    "products": {
        ROWS.name: PRODUCT_LINES,
        CODES.name: b",prdtypecode\n0,10\n1,40\n2,2280\n",
        IMAGE_ARCHIVE: zip_of({"images/image_train/image_9001_product_4001.jpg": SHOWN}),
    },
    "fashion": {STYLES.name: STYLE_LINES, IMAGES.name: gzip.compress(tar_of({"images/7.jpg": SHOWN}))},
}
"""The files of a mirror by task, as their publishers lay them out."""
TABLES = [("housing", HOUSES.name), ("fraud", fraud.FILE.name), ("churn", churn.FILE.name), ("fashion", STYLES.name)]
TABLES += [("products", ROWS.name), ("products", CODES.name)]
EVERY_FILE = [(task, name) for task, files in PLACES.items() for name in files]
SECRET = "Zanzibar"


def load(task: str, mirror: Path, changed: Mapping[str, bytes | None]) -> Table:
    """Loads a task from a mirror with some files changed, or missing (None)."""
    for name, content in {**PLACES[task], **changed}.items():
        (mirror / name).parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            (mirror / name).write_bytes(content)
    return find_tasks()[task].load(Source(mirror / "raw", mirror, timeout_seconds=0.1))


def reason(task: str, mirror: Path, name: str, content: bytes) -> str:
    """Why a task does not load when this file is changed."""
    with pytest.raises(InvalidData) as refused:
        load(task, mirror, {name: content})
    assert SECRET not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("task", PLACES)
def test_the_files_as_published_are_read(task: str, tmp_path: Path) -> None:
    assert not load(task, tmp_path, {}).synthetic


@pytest.mark.parametrize(("task", "name"), EVERY_FILE)
def test_a_folder_or_a_cut_off_gzip_file_in_place_of_a_file_is_refused(task: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "one" / name).mkdir(parents=True)
    with pytest.raises(InvalidData, match=Path(name).name):
        load(task, tmp_path / "one", {name: None})
    if name != IMAGE_ARCHIVE:
        packed = PLACES[task][name] if name.endswith(".gz") else gzip.compress(PLACES[task][name])
        cut = {name: None, name if name.endswith(".gz") else f"{name}.gz": packed[:-9]}
        with pytest.raises(InvalidData, match=rf"{Path(name).name}.*is no gzip file, or not a whole one"):
            load(task, tmp_path / "two", cut)


@pytest.mark.parametrize(("task", "name"), [place for place in EVERY_FILE if place[1] != IMAGES.name])
def test_an_empty_file_is_refused(task: str, name: str, tmp_path: Path) -> None:
    assert name in reason(task, tmp_path, name, b"")


@pytest.mark.parametrize(("task", "name"), [*TABLES, ("tweets", TEXTS), ("tweets", LABELS)])
def test_a_file_that_is_not_utf8_is_refused_with_its_line(task: str, name: str, tmp_path: Path) -> None:
    head, _, rest = PLACES[task][name].partition(b"\n")
    found = reason(task, tmp_path, name, head + f"\n{SECRET} é".encode("cp1252") + rest)
    assert found == f"{name}, line 2: is not UTF-8. Save the file as UTF-8."


@pytest.mark.parametrize(("task", "name"), TABLES)
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda text: text.replace(b",", b";"), "line 1: the fields are separated by semicolons; expected are commas."),
        (lambda text: text.replace(b",", b"\t"), "line 1: the fields are separated by tabs; expected are commas."),
        (lambda text: text.replace(b",", f",{SECRET}".encode(), 1), "line 1: the header lacks the column "),
        (lambda text: text.partition(b"\n")[0] + b"\n", "has no line below its header."),
        (lambda text: text.rstrip(b"\n") + b',"",\n', "fields; expected are "),
        (lambda text: text.replace(b"\n", b',"",\n').replace(b',"",\n', b"\n", 1), "line 2: has "),
        (lambda text: text + f'"{SECRET}\n'.encode(), ": opens a quote that nothing closes."),
    ],
    ids=[
        "semicolons",
        "tabs",
        "other column",
        "header alone",
        "one long line",
        "long lines",
        "open quote",
    ],
)
def test_a_table_of_another_layout_is_refused(
    task: str, name: str, change: Callable[[bytes], bytes], expected: str, tmp_path: Path
) -> None:
    found = reason(task, tmp_path, name, change(PLACES[task][name]))
    assert found.startswith(name)
    assert expected in found


@pytest.mark.parametrize(
    ("task", "name", "old", "new", "expected"),
    [
        ("tweets", LABELS, b"1\n", b"\n", "line 2: has no number from 0 to 2."),
        ("tweets", LABELS, b"1\n", b"3\n", "line 2: has no number from 0 to 2."),
        ("tweets", LABELS, b"1\n", b"", "has 2 lines, and tweets/tweeteval/sentiment/train_text.txt has 3."),
        ("tweets", TEXTS, b"two\n", b"\n", "line 2, text: String should have at least 1 character."),
        ("housing", HOUSES.name, b"37.86", b"", "line 3, column latitude: has no number."),
        ("housing", HOUSES.name, b"37.86", SECRET.encode(), "line 3, column latitude: has no number."),
        ("housing", HOUSES.name, b"37.86", b"inf", "line 3, column latitude: has no number."),
        ("housing", HOUSES.name, b"37.86", b"95", "line 3, Latitude: Input should be less than or equal to 90."),
        ("housing", HOUSES.name, b"1138.0", b"0", "line 3, column households: is not above 0."),
        ("housing", HOUSES.name, b"358500.0", b"", "line 3, column median_house_value: has no number."),
        ("housing", HOUSES.name, b"INLAND", SECRET.encode(), "line 3, ocean_proximity: Input should be "),
        ("fraud", fraud.FILE.name, b'"0"\n', b'""\n', "line 2, column Class: has no number."),
        ("fraud", fraud.FILE.name, b'"0"\n', b'"2"\n', "line 2, column Class: is neither 0 nor 1."),
        ("churn", churn.FILE.name, b",No\n", b",\n", "column Churn: is neither No nor Yes."),
        ("churn", churn.FILE.name, b"0001-MADEUP", b"0000-MADEUP", "line 3, column customerID: has an id that an"),
        ("churn", churn.FILE.name, b"Month-to-month", SECRET.encode(), ", Contract: Input should be "),
        ("products", CODES.name, b"1,40", b"1,", "line 3, column prdtypecode: has no whole number."),
        ("products", CODES.name, b"1,40", b"1,40.0", "line 3, column prdtypecode: has no whole number."),
        ("products", CODES.name, b"1,40", b"0,40", "line 3, column row number: has a number that an earlier line has"),
        ("products", CODES.name, b"2,2280", b"3,2280", f"line 5, column row number: has a number that {CODES.name}"),
        ("products", ROWS.name, b"1,console", b"0,console", "line 4, column row number: has a number that an earlier"),
        ("products", ROWS.name, b"1,console", b",console", "line 4, column row number: has no whole number."),
        ("products", ROWS.name, b"9002", b"9002.0", "line 4, column imageid: has no whole number."),
        ("products", ROWS.name, b"2,chat", b"2, ", "line 5: give at least one of designation, description and image."),
        ("fashion", STYLES.name, b"8,", b"7,", "line 3, column id: has a number that an earlier line has too."),
        ("fashion", STYLES.name, b"Watches", b"", "line 3, column articleType: is empty."),
    ],
)
def test_a_wrong_field_is_refused_with_its_line_and_column(
    task: str, name: str, old: bytes, new: bytes, expected: str, tmp_path: Path
) -> None:
    assert expected in reason(task, tmp_path, name, PLACES[task][name].replace(old, new, 1))


WHOLE = PLACES["products"][IMAGE_ARCHIVE]


@pytest.mark.parametrize(
    ("task", "name", "content", "expected"),
    [
        ("products", IMAGE_ARCHIVE, WHOLE[:-30], "is no zip archive, or not a whole one."),
        ("products", IMAGE_ARCHIVE, WHOLE.replace(SHOWN[:20], bytes(20)), "image_9001_product_4001.jpg: is damaged."),
        ("products", IMAGE_ARCHIVE, zip_of({"image_train/x.jpg": SHOWN}), "has no image of any row"),
        (
            "products",
            IMAGE_ARCHIVE,
            zip_of({"image_train/image_9001_product_4001.jpg": b"<html>"}),
            "image_9001_product_4001.jpg: is no image",
        ),
        ("products", IMAGE_FOLDER, b"a file", "is no folder."),
        ("fashion", IMAGES.name, gzip.compress(b"no archive", mtime=0), "is no tar archive, or not a whole one."),
        ("fashion", IMAGES.name, gzip.compress(tar_of({"a/7.jpg": SHOWN})[:1_024], mtime=0), "or not a whole one."),
        ("fashion", IMAGES.name, gzip.compress(tar_of({"a/9.jpg": SHOWN}), mtime=0), "has no image of any id"),
        ("fashion", IMAGES.name, gzip.compress(tar_of({"a/7.jpg": b""}), mtime=0), "a/7.jpg: is no image"),
    ],
)
def test_damaged_images_are_refused(task: str, name: str, content: bytes, expected: str, tmp_path: Path) -> None:
    found = reason(task, tmp_path, name, content)
    assert found.startswith(name)
    assert expected in found


@pytest.mark.parametrize("task", ["products", "fashion"])
def test_rows_are_generated_only_when_a_file_is_missing(task: str, tmp_path: Path) -> None:
    for name in PLACES[task]:
        if name != IMAGE_ARCHIVE:
            assert load(task, tmp_path / name.replace("/", "-"), {name: None}).synthetic


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    changed = {name: b"\xef\xbb\xbf" + PLACES["products"][name] for name in (ROWS.name, CODES.name)}
    assert load("products", tmp_path / "one", changed).digest() == load("products", tmp_path / "two", {}).digest()


def test_the_sample_of_frauds_is_refused_as_the_whole_file_is(tmp_path: Path) -> None:
    found = reason("fraud", tmp_path, fraud.SAMPLE, PLACES["fraud"][fraud.FILE.name].replace(b'"0"\n', b'""\n', 1))
    assert found.startswith(f"{fraud.SAMPLE}, line 2, column Class: has no number.")
