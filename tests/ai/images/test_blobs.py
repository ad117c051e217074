"""An image is stored once, until every person who sent it is erased or its retention is over."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest

from ai_api.errors import BlobsUnavailable, ConfigurationError
from ai_api.images.blobs import Blobs
from ai_api.images.reference import ImageRef
from tests.ai.support.drawn import plain

YESTERDAY = datetime.now(UTC) - timedelta(days=1)
LONG_AGO = YESTERDAY - timedelta(days=30)
RED, BLUE = ImageRef.of_bytes(plain("red")), ImageRef.of_bytes(plain("blue"))


@pytest.fixture(params=["folder", "object store"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A folder, or fsspec's store in memory, which has no real folders, like S3."""
    if request.param == "folder":
        yield str(tmp_path / "blobs")
    else:
        yield "memory://blobs"
        fsspec.filesystem("memory").store.clear()


@pytest.fixture
def blobs(url: str) -> Blobs:
    return Blobs(url)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_an_image_is_read_byte_for_byte_in_any_process(blobs: Blobs, url: str) -> None:
    blobs.put(RED, "anna", "shop")
    found = Blobs(url).get(RED.digest)
    assert found == RED
    assert found is not None
    assert found.read() == RED.read()


def test_an_image_belongs_to_each_person_who_sent_it_until_they_are_erased(blobs: Blobs) -> None:
    blobs.put(RED, "anna", "shop")
    blobs.put(RED, "bert", "street")
    blobs.put(BLUE, "bert", "shop")
    assert [blobs.is_owned_by(RED.digest, owner) for owner in ("anna", "bert", "carl")] == [True, True, False]
    assert not blobs.is_owned_by(BLUE.digest, "anna")
    assert not blobs.is_owned_by("shop", "anna")
    blobs.erase("anna")
    assert [blobs.is_owned_by(RED.digest, owner) for owner in ("anna", "bert")] == [False, True]


def test_bytes_are_stored_once_and_each_person_has_a_reference(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    for owner in ("anna", "bert", "anna"):
        blobs.put(RED, owner, "shop")
    kept = f"bytes/{RED.digest[:2]}/{RED.digest}"
    assert files(tmp_path) == {kept, f"owners/anna/shop/{RED.digest}", f"owners/bert/shop/{RED.digest}"}
    assert (tmp_path / kept).read_bytes() == RED.read()


@pytest.mark.parametrize("digest", ["0" * 64, "../../etc/passwd", "", RED.digest.upper()])
def test_an_image_that_is_not_stored_is_none(blobs: Blobs, digest: str) -> None:
    assert blobs.get(digest) is None


def test_erasing_a_person_erases_images_that_no_other_person_sent(blobs: Blobs) -> None:
    for image, owner in ((RED, "anna"), (BLUE, "anna"), (BLUE, "bert")):
        blobs.put(image, owner, "shop")
    assert blobs.erase("anna") == 1
    assert blobs.get(RED.digest) is None
    assert blobs.get(BLUE.digest) == BLUE
    assert blobs.erase("anna") == 0
    assert blobs.erase("bert") == 1
    assert blobs.get(BLUE.digest) is None


def test_no_file_of_an_erased_person_is_left_in_the_folder(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    blobs.put(RED, "anna", "shop")
    blobs.erase("anna")
    assert files(tmp_path) == set()


@pytest.mark.parametrize("owner", ["../bert", "", "a/b", ".", "anna\n"])
def test_the_name_of_an_owner_cannot_lead_out_of_the_store(blobs: Blobs, owner: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        blobs.put(RED, owner, "shop")
    with pytest.raises(ValueError, match="letters, digits"):
        blobs.put(RED, "anna", owner)
    with pytest.raises(ValueError, match="letters, digits"):
        blobs.erase(owner)


class Crash(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("steps", range(3))
def test_after_a_crash_of_a_writer_erasing_finds_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    blobs = Blobs(str(tmp_path))
    left = iter(range(steps))

    def crash_in(name: str) -> None:
        real = getattr(blobs._fs, name)

        def call(*args: object, **options: object) -> object:
            if next(left, None) is None:
                raise Crash
            return real(*args, **options)

        monkeypatch.setattr(blobs._fs, name, call)

    for name in ("pipe_file", "mv"):
        crash_in(name)
    with pytest.raises(Crash):
        blobs.put(RED, "anna", "shop")
    monkeypatch.undo()
    again = Blobs(str(tmp_path))
    assert again.get(RED.digest) is None
    again.erase("anna")
    assert files(tmp_path) == set()
    again.put(RED, "anna", "shop")
    assert again.get(RED.digest) == RED


def test_a_reference_without_bytes_does_no_harm(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    blobs.put(RED, "anna", "shop")
    (tmp_path / "bytes" / RED.digest[:2] / RED.digest).unlink()
    assert blobs.get(RED.digest) is None
    blobs.put(RED, "bert", "shop")
    assert blobs.get(RED.digest) == RED
    blobs.erase("anna")
    assert blobs.get(RED.digest) == RED


def interrupt(blobs: Blobs, step: str, other: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the next `step` of this store another process calls `other`."""
    real = getattr(blobs._fs, step)

    def interrupted(*paths: str) -> None:
        monkeypatch.setattr(blobs._fs, step, real)
        other()
        real(*paths)

    monkeypatch.setattr(blobs._fs, step, interrupted)


def read(blobs: Blobs, image: ImageRef) -> bytes | None:
    found = blobs.get(image.digest)
    return None if found is None else found.read()


@pytest.mark.parametrize(("step", "erased"), [("mv", 0), ("rm_file", 1)])
def test_an_image_sent_while_another_owner_is_erased_stays_for_its_sender(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, erased: int
) -> None:
    blobs = Blobs(str(tmp_path))
    blobs.put(RED, "anna", "shop")
    interrupt(blobs, step, lambda: Blobs(str(tmp_path)).put(RED, "bert", "shop"), monkeypatch)
    assert blobs.erase("anna") == erased
    assert read(blobs, RED) == RED.read()


def set_old(folder: Path, *references: str) -> None:
    for reference in references:
        os.utime(folder / "owners" / reference, (LONG_AGO.timestamp(), LONG_AGO.timestamp()))


def test_an_image_expires_with_its_last_reference_and_each_task_has_its_own_retention(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    for image, owner, task in ((RED, "anna", "shop"), (BLUE, "anna", "shop"), (RED, "bert", "fashion")):
        blobs.put(image, owner, task)
    assert blobs.expire("shop", YESTERDAY) == 0
    set_old(tmp_path, f"anna/shop/{RED.digest}", f"anna/shop/{BLUE.digest}", f"bert/fashion/{RED.digest}")
    assert blobs.expire("toys", YESTERDAY) == 0
    assert blobs.expire("shop", LONG_AGO - timedelta(days=1)) == 0
    assert blobs.expire("shop", YESTERDAY) == 1
    assert blobs.get(BLUE.digest) is None
    assert blobs.get(RED.digest) is not None, "a row of another task refers to it"
    assert files(tmp_path / "owners") == {f"bert/fashion/{RED.digest}"}
    assert blobs.expire("fashion", YESTERDAY) == 1
    assert files(tmp_path) == set()


def test_sending_an_image_again_restarts_its_retention(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    blobs.put(RED, "anna", "shop")
    set_old(tmp_path, f"anna/shop/{RED.digest}")
    blobs.put(RED, "anna", "shop")
    assert blobs.expire("shop", YESTERDAY) == 0
    assert read(blobs, RED) == RED.read()


@pytest.mark.parametrize("step", ["mv", "rm_file"])
def test_an_image_sent_while_it_expires_is_stored_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    blobs = Blobs(str(tmp_path))
    blobs.put(RED, "anna", "shop")
    set_old(tmp_path, f"anna/shop/{RED.digest}")
    interrupt(blobs, step, lambda: Blobs(str(tmp_path)).put(RED, "anna", "shop"), monkeypatch)
    blobs.expire("shop", YESTERDAY)
    assert read(blobs, RED) == RED.read()
    assert files(tmp_path / "owners") == {f"anna/shop/{RED.digest}"}


def test_references_of_volant_0_1_without_a_task_never_expire_but_are_erased(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    blobs.put(RED, "anna", "shop")
    (tmp_path / "owners/anna/shop" / RED.digest).rename(tmp_path / "owners/anna" / RED.digest)
    set_old(tmp_path, f"anna/{RED.digest}")
    assert blobs.is_owned_by(RED.digest, "anna")
    assert blobs.expire("shop", YESTERDAY) == 0
    assert blobs.erase("anna") == 1
    assert files(tmp_path) == set()


def test_concurrent_writers_and_an_eraser_lose_no_image_of_another_person(tmp_path: Path) -> None:
    images = [ImageRef.of_bytes(plain((shade, 0, 0), (4, 4))) for shade in range(8)]
    start = threading.Barrier(4)

    def write(owner: str) -> None:
        blobs = Blobs(str(tmp_path))
        start.wait()
        for _ in range(5):
            for image in images:
                blobs.put(image, owner, "shop")

    def erase() -> None:
        start.wait()
        for _ in range(10):
            Blobs(str(tmp_path)).erase("anna")

    with ThreadPoolExecutor(4) as pool:
        for done in [*(pool.submit(write, owner) for owner in ("anna", "bert", "carl")), pool.submit(erase)]:
            done.result()
    blobs = Blobs(str(tmp_path))
    assert [blobs.get(image.digest) for image in images] == images
    assert all(found.read() for image in images if (found := blobs.get(image.digest)))


def test_an_image_that_two_processes_erase_stays_for_a_person_who_sent_it_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Blobs(str(tmp_path)), Blobs(str(tmp_path))
    first.put(RED, "anna", "shop")
    read_all = first._referenced
    of_second = iter([set[str](), {RED.digest}])

    def second_erases() -> None:
        """When the first process has set the image aside. It takes the image from the first and puts it back."""
        monkeypatch.setattr(second, "_referenced", lambda _: next(of_second))
        (tmp_path / "owners/bert/shop").mkdir(parents=True)
        (tmp_path / "owners/bert/shop" / RED.digest).touch()
        second.erase("anna")

    between = iter([lambda: None, second_erases])

    def referenced(excluded: Set[str]) -> set[str]:
        next(between)()
        return read_all(excluded)

    monkeypatch.setattr(first, "_referenced", referenced)
    first.erase("anna")
    assert files(tmp_path) == {f"bytes/{RED.digest[:2]}/{RED.digest}", f"owners/bert/shop/{RED.digest}"}


def test_an_image_that_is_taken_away_while_it_is_written_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = Blobs(str(tmp_path))
    move, taken = blobs._move, list[str]()

    def take_first(path: str, new_path: str) -> bool:
        if not taken:
            taken.append(path)
            Path(path).unlink()
        return move(path, new_path)

    monkeypatch.setattr(blobs, "_move", take_first)
    blobs.put(RED, "anna", "shop")
    assert blobs.get(RED.digest) == RED


def test_a_part_of_a_file_that_a_killed_process_left_is_deleted(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    blobs.put(RED, "anna", "shop")
    stored = tmp_path / "bytes" / RED.digest[:2] / RED.digest
    stored.rename(f"{stored}.half")
    Path(f"{stored}.half").write_bytes(b"\x89PNG")
    blobs.erase("anna")
    assert files(tmp_path) == set()


def test_damaged_bytes_are_refused(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    blobs.put(RED, "anna", "shop")
    (tmp_path / "bytes" / RED.digest[:2] / RED.digest).write_bytes(b"damaged")
    found = blobs.get(RED.digest)
    assert found is not None
    with pytest.raises(BlobsUnavailable, match="damaged"):
        found.read()


def test_a_store_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BlobsUnavailable):
        Blobs(str(tmp_path / "file")).put(RED, "anna", "shop")


def test_a_store_without_a_driver_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="AI_BLOBS_URL"):
        Blobs("no-such-store://bucket")
