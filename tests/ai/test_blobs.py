"""Pictures are kept once, for as long as somebody who sent them is not forgotten."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest

from ai_api.blobs import Blobs
from ai_api.errors import BlobsUnavailable, ConfigurationError
from ai_api.images import ImageRef
from tests.ai.drawn import plain

YESTERDAY = datetime.now(UTC) - timedelta(days=1)
LONG_AGO = YESTERDAY - timedelta(days=30)
RED, BLUE = ImageRef.of_bytes(plain("red")), ImageRef.of_bytes(plain("blue"))


@pytest.fixture(params=["folder", "object store"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A folder, or fsspec's store in memory, which like S3 has no real folders."""
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


def test_a_picture_comes_back_as_it_was_in_any_process(blobs: Blobs, url: str) -> None:
    blobs.put(RED, "anna", "shop")
    found = Blobs(url).get(RED.digest)
    assert found == RED
    assert found is not None
    assert found.read() == RED.read()


def test_a_picture_is_of_whoever_sent_it_until_they_are_forgotten(blobs: Blobs) -> None:
    blobs.put(RED, "anna", "shop")
    blobs.put(RED, "bert", "street")
    blobs.put(BLUE, "bert", "shop")
    assert [blobs.is_owned_by(RED.digest, owner) for owner in ("anna", "bert", "carl")] == [True, True, False]
    assert not blobs.is_owned_by(BLUE.digest, "anna")
    assert not blobs.is_owned_by("shop", "anna")
    blobs.erase("anna")
    assert [blobs.is_owned_by(RED.digest, owner) for owner in ("anna", "bert")] == [False, True]


def test_bytes_are_kept_once_and_each_person_has_a_reference(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    for owner in ("anna", "bert", "anna"):
        blobs.put(RED, owner, "shop")
    kept = f"bytes/{RED.digest[:2]}/{RED.digest}"
    assert files(tmp_path) == {kept, f"owners/anna/shop/{RED.digest}", f"owners/bert/shop/{RED.digest}"}
    assert (tmp_path / kept).read_bytes() == RED.read()


@pytest.mark.parametrize("digest", ["0" * 64, "../../etc/passwd", "", RED.digest.upper()])
def test_what_is_not_there_is_none(blobs: Blobs, digest: str) -> None:
    assert blobs.get(digest) is None


def test_a_person_who_is_forgotten_takes_along_what_nobody_else_sent(blobs: Blobs) -> None:
    for picture, owner in ((RED, "anna"), (BLUE, "anna"), (BLUE, "bert")):
        blobs.put(picture, owner, "shop")
    assert blobs.erase("anna") == 1
    assert blobs.get(RED.digest) is None
    assert blobs.get(BLUE.digest) == BLUE
    assert blobs.erase("anna") == 0
    assert blobs.erase("bert") == 1
    assert blobs.get(BLUE.digest) is None


def test_nothing_of_a_forgotten_person_is_left_in_the_folder(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    blobs.put(RED, "anna", "shop")
    blobs.erase("anna")
    assert files(tmp_path) == set()


@pytest.mark.parametrize("owner", ["../bert", "", "a/b", ".", "anna\n"])
def test_an_owner_cannot_lead_out_of_the_store(blobs: Blobs, owner: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        blobs.put(RED, owner, "shop")
    with pytest.raises(ValueError, match="letters, digits"):
        blobs.put(RED, "anna", owner)
    with pytest.raises(ValueError, match="letters, digits"):
        blobs.erase(owner)


class Crash(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("steps", range(3))
def test_a_writer_that_dies_leaves_nothing_that_erasing_does_not_find(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    blobs = Blobs(str(tmp_path))
    left = iter(range(steps))

    def dying(name: str) -> None:
        real = getattr(blobs._fs, name)

        def call(*args: object, **options: object) -> object:
            if next(left, None) is None:
                raise Crash
            return real(*args, **options)

        monkeypatch.setattr(blobs._fs, name, call)

    for name in ("pipe_file", "mv"):
        dying(name)
    with pytest.raises(Crash):
        blobs.put(RED, "anna", "shop")
    monkeypatch.undo()
    again = Blobs(str(tmp_path))
    assert again.get(RED.digest) is None
    again.erase("anna")
    assert files(tmp_path) == set()
    again.put(RED, "anna", "shop")
    assert again.get(RED.digest) == RED


def test_a_reference_without_bytes_stops_nobody(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    blobs.put(RED, "anna", "shop")
    (tmp_path / "bytes" / RED.digest[:2] / RED.digest).unlink()
    assert blobs.get(RED.digest) is None
    blobs.put(RED, "bert", "shop")
    assert blobs.get(RED.digest) == RED
    blobs.erase("anna")
    assert blobs.get(RED.digest) == RED


def interrupt(blobs: Blobs, step: str, other: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the next `step` of this store another process does something."""
    real = getattr(blobs._fs, step)

    def interrupted(*paths: str) -> None:
        monkeypatch.setattr(blobs._fs, step, real)
        other()
        real(*paths)

    monkeypatch.setattr(blobs._fs, step, interrupted)


def read(blobs: Blobs, picture: ImageRef) -> bytes | None:
    found = blobs.get(picture.digest)
    return None if found is None else found.read()


@pytest.mark.parametrize(("step", "erased"), [("mv", 0), ("rm_file", 1)])
def test_a_picture_that_is_sent_while_its_owner_is_forgotten_stays_for_the_sender(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, erased: int
) -> None:
    blobs = Blobs(str(tmp_path))
    blobs.put(RED, "anna", "shop")
    interrupt(blobs, step, lambda: Blobs(str(tmp_path)).put(RED, "bert", "shop"), monkeypatch)
    assert blobs.erase("anna") == erased
    assert read(blobs, RED) == RED.read()


def grow_old(folder: Path, *references: str) -> None:
    for reference in references:
        os.utime(folder / "owners" / reference, (LONG_AGO.timestamp(), LONG_AGO.timestamp()))


def test_a_picture_goes_with_the_last_of_its_references_and_each_task_has_its_own_days(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    for picture, owner, task in ((RED, "anna", "shop"), (BLUE, "anna", "shop"), (RED, "bert", "fashion")):
        blobs.put(picture, owner, task)
    assert blobs.expire("shop", YESTERDAY) == 0
    grow_old(tmp_path, f"anna/shop/{RED.digest}", f"anna/shop/{BLUE.digest}", f"bert/fashion/{RED.digest}")
    assert blobs.expire("toys", YESTERDAY) == 0
    assert blobs.expire("shop", LONG_AGO - timedelta(days=1)) == 0
    assert blobs.expire("shop", YESTERDAY) == 1
    assert blobs.get(BLUE.digest) is None
    assert blobs.get(RED.digest) is not None, "a row of another task refers to it"
    assert files(tmp_path / "owners") == {f"bert/fashion/{RED.digest}"}
    assert blobs.expire("fashion", YESTERDAY) == 1
    assert files(tmp_path) == set()


def test_a_picture_that_is_sent_again_is_young_again(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    blobs.put(RED, "anna", "shop")
    grow_old(tmp_path, f"anna/shop/{RED.digest}")
    blobs.put(RED, "anna", "shop")
    assert blobs.expire("shop", YESTERDAY) == 0
    assert read(blobs, RED) == RED.read()


@pytest.mark.parametrize("step", ["mv", "rm_file"])
def test_a_picture_that_is_sent_while_it_goes_is_there_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    blobs = Blobs(str(tmp_path))
    blobs.put(RED, "anna", "shop")
    grow_old(tmp_path, f"anna/shop/{RED.digest}")
    interrupt(blobs, step, lambda: Blobs(str(tmp_path)).put(RED, "anna", "shop"), monkeypatch)
    blobs.expire("shop", YESTERDAY)
    assert read(blobs, RED) == RED.read()
    assert files(tmp_path / "owners") == {f"anna/shop/{RED.digest}"}


def test_references_of_a_version_that_knew_no_task_never_grow_old_and_are_forgotten(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    blobs.put(RED, "anna", "shop")
    (tmp_path / "owners/anna/shop" / RED.digest).rename(tmp_path / "owners/anna" / RED.digest)
    grow_old(tmp_path, f"anna/{RED.digest}")
    assert blobs.is_owned_by(RED.digest, "anna")
    assert blobs.expire("shop", YESTERDAY) == 0
    assert blobs.erase("anna") == 1
    assert files(tmp_path) == set()


def test_many_writers_and_an_eraser_at_once_lose_nobody_elses_picture(tmp_path: Path) -> None:
    pictures = [ImageRef.of_bytes(plain((shade, 0, 0), (4, 4))) for shade in range(8)]
    start = threading.Barrier(4)

    def write(owner: str) -> None:
        blobs = Blobs(str(tmp_path))
        start.wait()
        for _ in range(5):
            for picture in pictures:
                blobs.put(picture, owner, "shop")

    def erase() -> None:
        start.wait()
        for _ in range(10):
            Blobs(str(tmp_path)).erase("anna")

    with ThreadPoolExecutor(4) as pool:
        for done in [*(pool.submit(write, owner) for owner in ("anna", "bert", "carl")), pool.submit(erase)]:
            done.result()
    blobs = Blobs(str(tmp_path))
    assert [blobs.get(picture.digest) for picture in pictures] == pictures
    assert all(found.read() for picture in pictures if (found := blobs.get(picture.digest)))


def test_damaged_bytes_are_not_taken_for_the_picture(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    blobs.put(RED, "anna", "shop")
    (tmp_path / "bytes" / RED.digest[:2] / RED.digest).write_bytes(b"damaged")
    found = blobs.get(RED.digest)
    assert found is not None
    with pytest.raises(BlobsUnavailable, match="damaged"):
        found.read()


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BlobsUnavailable):
        Blobs(str(tmp_path / "file")).put(RED, "anna", "shop")


def test_a_store_without_a_driver_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigurationError, match="AI_BLOBS_URL"):
        Blobs("no-such-store://bucket")
