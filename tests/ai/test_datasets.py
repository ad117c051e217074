"""A row has one side for good; held-out rows never train; data come from a mirror, from home, or are invented."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_api.corrections import Correction
from ai_api.datasets import (
    HELD_OUT_SHARE,
    UNSEEN_SHARE,
    Table,
    frame,
    is_held_out,
    is_unseen,
    is_within,
    normalise,
    row_hash,
    split,
)
from ai_api.errors import DataUnavailable, LeakedRows
from ai_api.images import ImageRef
from ai_api.sources import PublicFile, Source
from ai_api.task import Modality
from ai_api.tasks.housing import read_housing
from ai_api.tasks.tweets import generate_tweets, read_tweets

NUMBERS = Table([{"x": float(number)} for number in range(2_000)], np.arange(2_000, dtype=float))


def said(row: dict[str, object], truth: str | float = 1.0, **more: object) -> Correction:
    return replace(Correction(row, truth, "ann", trusted=False, created_at="1"), **more)  # type: ignore[arg-type]


@given(st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False, width=32)))
def test_a_hash_ignores_key_order_and_how_numbers_are_written(row: dict[str, float]) -> None:
    other = {name: int(value) if value == int(value) else value for name, value in reversed(row.items())}
    assert row_hash(row) == row_hash(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"text": "Late again"}, {"text": "  late   AGAIN "}),
        ({"text": "it\u2019s late"}, {"text": r"it\u2019s late"}),
        ({"text": "\U0001f600"}, {"text": r"\ud83d\ude00"}),
        ({"text": "you & me"}, {"text": "you &amp; me"}),
        ({"x": 1}, {"x": 1.0}),
        ({"x": 0.0}, {"x": -0.0}),
        ({"x": 0.1 + 0.2}, {"x": 0.3}),
        ({"x": 1.0, "y": None}, {"x": 1.0}),
        ({"x": 1.0, "y": float("nan")}, {"x": 1.0}),
    ],
)
def test_rows_that_say_the_same_have_the_same_hash(one: dict[str, object], other: dict[str, object]) -> None:
    assert row_hash(one) == row_hash(other)


@pytest.mark.parametrize(("one", "other"), [({"x": 1.0}, {"x": True}), ({"x": 1.0}, {"y": 1.0}), ({"x": 1}, {"x": 2})])
def test_rows_that_say_something_else_do_not(one: dict[str, object], other: dict[str, object]) -> None:
    assert row_hash(one) != row_hash(other)


def test_a_hash_stays_what_it_is_for_good() -> None:
    assert row_hash({"text": "late again, thanks"}) == "455c640fddc2f1bdff5239a0c0c87740"
    assert row_hash({"MedInc": 8.3252, "HouseAge": 41.0}) == "f0e1e73f98552ac4dd962976a7e3af2a"


@given(st.text())
def test_normalising_twice_changes_nothing_that_can_be_seen(text: str) -> None:
    assert normalise(text) == normalise(f"  {text}\n")


def test_a_fifth_is_held_out_and_a_larger_share_holds_a_smaller() -> None:
    held = sum(map(is_held_out, NUMBERS.hashes)) / len(NUMBERS)
    assert held == pytest.approx(HELD_OUT_SHARE, abs=0.03)
    third = {digest for digest in NUMBERS.hashes if is_within(digest, 0.33)}
    assert len(third) / len(NUMBERS) == pytest.approx(0.33, abs=0.04)
    assert third <= {digest for digest in NUMBERS.hashes if is_within(digest, 0.5)}
    assert all(is_within(digest, 1.0) for digest in NUMBERS.hashes)


def test_the_split_depends_on_the_rows_alone() -> None:
    parts = split(NUMBERS)
    order = np.random.default_rng(0).permutation(len(NUMBERS))
    shuffled = split(Table([NUMBERS.rows[i] for i in order], NUMBERS.truths[order]))
    assert set(parts.held_out.hashes) == set(shuffled.held_out.hashes)
    assert parts.train.digest() == shuffled.train.digest()
    assert len(parts.train) + len(parts.held_out) + len(parts.unseen) == len(NUMBERS)


def test_a_smaller_share_takes_fewer_training_rows_and_the_same_held_out_ones() -> None:
    whole, third = split(NUMBERS), split(NUMBERS, share=0.33)
    assert third.held_out.hashes == whole.held_out.hashes
    assert set(third.train.hashes) < set(whole.train.hashes)


def test_an_official_split_is_kept_and_its_duplicates_do_not_train() -> None:
    rows: list[dict[str, object]] = [{"text": "One"}, {"text": "two"}, {"text": "one "}, {"text": "three"}]
    table = Table(rows, np.array(list("abab"), dtype=object), official=np.array([False, False, True, True]))
    parts = split(table)
    assert [row["text"] for row in parts.held_out.rows] == ["one ", "three"]
    assert [row["text"] for row in parts.train.rows] == ["two"]


def test_corrections_train_or_are_live_by_their_hash() -> None:
    corrections = [said({"x": number + 0.5}, float(number)) for number in range(500)]
    parts = split(NUMBERS, corrections)
    live = set(parts.live.table.hashes)
    assert live == {row_hash(c.row) for c in corrections if is_held_out(row_hash(c.row))}
    assert parts.corrections_used == 500 - len(live)
    assert len(parts.train) == len(split(NUMBERS).train) + parts.corrections_used
    assert parts.train.truths.dtype == np.float64


def test_a_correction_of_a_held_out_row_never_trains_and_changes_no_held_out_truth() -> None:
    held = split(NUMBERS).held_out
    parts = split(NUMBERS, [said(row, -1.0, trusted=True) for row in held.rows])
    assert parts.corrections_used == 0
    assert not set(parts.train.hashes) & set(held.hashes)
    np.testing.assert_array_equal(parts.held_out.truths, held.truths)


def test_a_base_row_that_is_live_evidence_does_not_train() -> None:
    texts = generate_tweets(400)
    official = set(split(texts).held_out.hashes)
    live = next(row for row in texts.rows if is_held_out(row_hash(row)) and row_hash(row) not in official)
    assert row_hash(live) in split(texts).train.hashes
    parts = split(texts, [said(live, "neutral")])
    assert row_hash(live) in parts.live.table.hashes
    assert row_hash(live) not in parts.train.hashes


def test_only_somebody_trusted_relabels_the_data_set() -> None:
    row = split(NUMBERS).train.rows[0]
    place = split(NUMBERS, [said(row, -1.0)]).train
    assert place.truths[place.hashes.index(row_hash(row))] != -1.0
    place = split(NUMBERS, [said(row, -1.0, trusted=True)]).train
    assert place.truths[place.hashes.index(row_hash(row))] == -1.0
    assert place.hashes.count(row_hash(row)) == 1


@pytest.mark.parametrize(
    ("words", "settled"),
    [
        ([("ann", "a", False), ("bob", "b", False), ("eve", "b", False)], "b"),
        ([("ann", "a", False), ("ann", "b", False)], "b"),
        ([("ann", "a", False), ("ann", "a", False), ("bob", "b", False)], "b"),
        ([("ann", "a", True), ("bob", "b", False), ("eve", "b", False)], "a"),
        ([("ann", "a", True), ("bob", "b", True)], "b"),
    ],
)
def test_several_words_on_one_row_settle_on_one(words: list[tuple[str, str, bool]], settled: str) -> None:
    table = Table([{"text": "other"}], np.array(["a"], dtype=object), official=np.array([True]))
    row = next({"text": f"row {n}"} for n in range(99) if not is_held_out(row_hash({"text": f"row {n}"})))
    corrections = [
        said(dict(row), truth, user=u, trusted=t, created_at=str(n)) for n, (u, truth, t) in enumerate(words)
    ]
    assert list(split(table, corrections).train.truths) == [settled]


def test_a_planted_leak_is_seen() -> None:
    parts = split(NUMBERS)
    with pytest.raises(LeakedRows, match="held-out rows, or near copies of them, are among the training rows"):
        replace(parts, train=parts.held_out).check()


def test_some_rows_neither_train_nor_are_held_out() -> None:
    parts = split(NUMBERS)
    assert len(parts.unseen) / len(NUMBERS) == pytest.approx(UNSEEN_SHARE * (1 - HELD_OUT_SHARE), abs=0.01)
    assert all(is_unseen(side) and not is_held_out(side) for side in parts.unseen.sides)
    assert not set(parts.unseen.hashes) & {*parts.train.hashes, *parts.held_out.hashes}


def test_rows_that_share_the_key_stand_on_one_side() -> None:
    rows: list[dict[str, object]] = [{"title": f"Shirt {n // 3}", "size": n} for n in range(900)]
    parts = split(Table(rows, np.array(["a", "b", "c"] * 300, dtype=object), key=("title",)))
    sides = [{row["title"] for row in part.rows} for part in (parts.train, parts.held_out, parts.unseen)]
    assert sum(map(len, sides)) == 300
    assert len(set.union(*sides)) == 300


def test_a_correction_of_a_near_copy_of_a_held_out_row_does_not_train() -> None:
    rows: list[dict[str, object]] = [{"title": f"Shirt {n}", "size": 1} for n in range(200)]
    table = Table(rows, np.array(["a", "b"] * 100, dtype=object), key=("title",))
    held = split(table).held_out.rows[0]
    parts = split(table, [said({**held, "size": 2}, "a", trusted=True)])
    assert parts.corrections_used == 0
    assert len(parts.live.table) == 1


def test_what_a_row_stands_for_is_kept_wherever_its_table_goes() -> None:
    table = replace(NUMBERS, weights={"legitimate": 22.2})
    parts = split(table, [said({"x": 0.5})])
    assert parts.train.weights == parts.held_out.weights == parts.unseen.weights == {"legitimate": 22.2}


def test_a_picture_counts_by_its_bytes() -> None:
    one, same, other = (ImageRef.of_bytes(content) for content in (b"one", b"one", b"other"))
    assert row_hash({"image": one}) == row_hash({"image": same}) != row_hash({"image": other})


def test_a_frame_has_its_columns_in_order_and_gaps_as_nan() -> None:
    made = frame([{"b": None, "a": "x"}, {"a": "y", "b": 1}], {"a": Modality.TEXT, "b": Modality.NUMBER})
    assert list(made.columns) == ["a", "b"]
    assert list(made["a"]) == ["x", "y"]
    assert np.isnan(made["b"][0])
    assert made["b"].dtype == np.float64


def test_a_frame_keeps_pictures_and_has_an_empty_word_for_a_category_that_is_missing() -> None:
    picture = ImageRef.of_bytes(b"bytes")
    columns = {"kind": Modality.CATEGORY, "image": Modality.IMAGE}
    made = frame([{"kind": "a", "image": picture}, {"kind": None}], columns)
    assert list(made["kind"]) == ["a", ""]
    assert list(made["image"]) == [picture, None]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A public home on this machine: its address and its folder."""
    folder = tmp_path / "home"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()
        thread.join()


def test_a_file_of_the_mirror_is_read_packed_or_not(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"two"))
    source = Source(tmp_path / "raw", tmp_path)
    assert source.read(PublicFile("a.txt", "http://127.0.0.1:9")) == b"one"
    assert source.read(PublicFile("b.txt", "http://127.0.0.1:9", sha256="of the public file")) == b"two"


def test_a_download_is_checked_and_kept(tmp_path: Path, home: tuple[str, Path]) -> None:
    url, folder = home
    (folder / "a.txt").write_bytes(b"rows")
    file = PublicFile("set/a.txt", f"{url}/a.txt", sha256=hashlib.sha256(b"rows").hexdigest())
    source = Source(tmp_path / "raw")
    assert source.read(file) == b"rows"
    (folder / "a.txt").unlink()
    assert source.read(file) == b"rows"


@pytest.mark.parametrize("check", ["sha256", "git_blob"])
def test_a_download_that_is_not_the_published_file_is_refused(
    tmp_path: Path, home: tuple[str, Path], check: str
) -> None:
    url, folder = home
    (folder / "a.txt").write_bytes(b"other rows")
    file = PublicFile("a.txt", f"{url}/a.txt", **{check: "0" * 40})  # type: ignore[arg-type]
    with pytest.raises(DataUnavailable):
        Source(tmp_path / "raw").read(file)
    assert not (tmp_path / "raw" / "a.txt").exists()


def test_the_git_blob_id_of_the_published_file_is_accepted(tmp_path: Path, home: tuple[str, Path]) -> None:
    url, folder = home
    (folder / "a.txt").write_bytes(b"hello\n")
    file = PublicFile("a.txt", f"{url}/a.txt", git_blob="ce013625030ba8dba906f756967f9e9ca394464a")
    assert Source(tmp_path / "raw").read(file) == b"hello\n"


@pytest.mark.parametrize("read", [read_tweets, read_housing])
def test_without_mirror_and_network_rows_are_generated_loudly_and_within_seconds(
    read: Callable[[Source], Table], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody answers there
    started = time.monotonic()
    with caplog.at_level(logging.WARNING):
        table = read(Source(tmp_path / "raw", timeout_seconds=1))
    assert time.monotonic() - started < 10
    assert table.synthetic
    assert "GENERATED ROWS" in caplog.text
    assert split(table).train.synthetic
    assert read(Source(tmp_path / "raw", timeout_seconds=1)).digest() == table.digest()


def test_a_row_without_its_optional_column_is_still_the_same_row() -> None:
    base = Table([{"a": n, "b": "coast"} for n in range(40)], np.zeros(40), key=("a",), identity=("a",))
    place = next(n for n, side in enumerate(base.sides) if not is_held_out(side) and not is_unseen(side))
    word = Correction({"a": place, "b": None}, 7.0, "somebody", trusted=True, created_at="2026-11-21")
    train = split(base, [word]).train
    assert [truth for row, truth in zip(train.rows, train.truths, strict=True) if row["a"] == place] == [7.0]


def test_a_reference_to_a_number_of_any_length_has_a_hash() -> None:
    assert row_hash({"text": f"&#{'9' * 5_000};"}) == row_hash({"text": "\ufffd"})
