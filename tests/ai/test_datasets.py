"""A row is in one part for good, held-out rows never train, and corrections are split by the same rule."""

from __future__ import annotations

from dataclasses import replace

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
from ai_api.errors import LeakedRows
from ai_api.images.reference import ImageRef
from ai_api.task import Modality
from ai_api.tasks.tweets import generate_tweets

NUMBERS = Table([{"x": float(number)} for number in range(2_000)], np.arange(2_000, dtype=float))


def correction(row: dict[str, object], truth: str | float = 1.0, **more: object) -> Correction:
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
def test_rows_with_the_same_content_have_the_same_hash(one: dict[str, object], other: dict[str, object]) -> None:
    assert row_hash(one) == row_hash(other)


@pytest.mark.parametrize(("one", "other"), [({"x": 1.0}, {"x": True}), ({"x": 1.0}, {"y": 1.0}), ({"x": 1}, {"x": 2})])
def test_rows_with_different_content_have_different_hashes(one: dict[str, object], other: dict[str, object]) -> None:
    assert row_hash(one) != row_hash(other)


def test_the_hash_of_a_row_never_changes() -> None:
    assert row_hash({"text": "late again, thanks"}) == "455c640fddc2f1bdff5239a0c0c87740"
    assert row_hash({"MedInc": 8.3252, "HouseAge": 41.0}) == "f0e1e73f98552ac4dd962976a7e3af2a"


@given(st.text())
def test_spaces_around_a_text_do_not_change_its_normal_form(text: str) -> None:
    assert normalise(text) == normalise(f"  {text}\n")


def test_a_fifth_is_held_out_and_a_larger_share_contains_a_smaller_one() -> None:
    held = sum(map(is_held_out, NUMBERS.hashes)) / len(NUMBERS)
    assert held == pytest.approx(HELD_OUT_SHARE, abs=0.03)
    third = {digest for digest in NUMBERS.hashes if is_within(digest, 0.33)}
    assert len(third) / len(NUMBERS) == pytest.approx(0.33, abs=0.04)
    assert third <= {digest for digest in NUMBERS.hashes if is_within(digest, 0.5)}
    assert all(is_within(digest, 1.0) for digest in NUMBERS.hashes)


def test_the_split_does_not_depend_on_the_order_of_rows() -> None:
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


def test_the_publishers_split_is_used_and_copies_of_its_held_out_rows_do_not_train() -> None:
    rows: list[dict[str, object]] = [{"text": "One"}, {"text": "two"}, {"text": "one "}, {"text": "three"}]
    table = Table(rows, np.array(list("abab"), dtype=object), official=np.array([False, False, True, True]))
    parts = split(table)
    assert [row["text"] for row in parts.held_out.rows] == ["one ", "three"]
    assert [row["text"] for row in parts.train.rows] == ["two"]


def test_the_hash_decides_whether_a_correction_trains_or_is_live() -> None:
    corrections = [correction({"x": number + 0.5}, float(number)) for number in range(500)]
    parts = split(NUMBERS, corrections)
    live = set(parts.live.table.hashes)
    assert live == {row_hash(c.row) for c in corrections if is_held_out(row_hash(c.row))}
    assert parts.corrections_used == 500 - len(live)
    assert len(parts.train) == len(split(NUMBERS).train) + parts.corrections_used
    assert parts.train.truths.dtype == np.float64


def test_a_correction_of_a_held_out_row_never_trains_and_changes_no_held_out_truth() -> None:
    held = split(NUMBERS).held_out
    parts = split(NUMBERS, [correction(row, -1.0, trusted=True) for row in held.rows])
    assert parts.corrections_used == 0
    assert not set(parts.train.hashes) & set(held.hashes)
    np.testing.assert_array_equal(parts.held_out.truths, held.truths)


def test_a_data_set_row_that_is_also_a_live_row_does_not_train() -> None:
    texts = generate_tweets(400)
    official = set(split(texts).held_out.hashes)
    live = next(row for row in texts.rows if is_held_out(row_hash(row)) and row_hash(row) not in official)
    assert row_hash(live) in split(texts).train.hashes
    parts = split(texts, [correction(live, "neutral")])
    assert row_hash(live) in parts.live.table.hashes
    assert row_hash(live) not in parts.train.hashes


def test_only_a_trusted_persons_correction_relabels_a_row_of_the_data_set() -> None:
    row = split(NUMBERS).train.rows[0]
    place = split(NUMBERS, [correction(row, -1.0)]).train
    assert place.truths[place.hashes.index(row_hash(row))] != -1.0
    place = split(NUMBERS, [correction(row, -1.0, trusted=True)]).train
    assert place.truths[place.hashes.index(row_hash(row))] == -1.0
    assert place.hashes.count(row_hash(row)) == 1


@pytest.mark.parametrize(
    ("corrections", "resolved"),
    [
        ([("ann", "a", False), ("bob", "b", False), ("eve", "b", False)], "b"),
        ([("ann", "a", False), ("ann", "b", False)], "b"),
        ([("ann", "a", False), ("ann", "a", False), ("bob", "b", False)], "b"),
        ([("ann", "a", True), ("bob", "b", False), ("eve", "b", False)], "a"),
        ([("ann", "a", True), ("bob", "b", True)], "b"),
    ],
)
def test_several_corrections_of_one_row_are_resolved_to_one_truth(
    corrections: list[tuple[str, str, bool]], resolved: str
) -> None:
    table = Table([{"text": "other"}], np.array(["a"], dtype=object), official=np.array([True]))
    row = next({"text": f"row {n}"} for n in range(99) if not is_held_out(row_hash({"text": f"row {n}"})))
    made = [
        correction(dict(row), truth, user=u, trusted=t, created_at=str(n))
        for n, (u, truth, t) in enumerate(corrections)
    ]
    assert list(split(table, made).train.truths) == [resolved]


def test_a_held_out_row_in_the_training_part_is_detected() -> None:
    parts = split(NUMBERS)
    with pytest.raises(LeakedRows, match="held-out rows, or near copies of them, are among the training rows"):
        replace(parts, train=parts.held_out).check()


def test_unseen_rows_neither_train_nor_are_held_out() -> None:
    parts = split(NUMBERS)
    assert len(parts.unseen) / len(NUMBERS) == pytest.approx(UNSEEN_SHARE * (1 - HELD_OUT_SHARE), abs=0.01)
    assert all(is_unseen(side) and not is_held_out(side) for side in parts.unseen.sides)
    assert not set(parts.unseen.hashes) & {*parts.train.hashes, *parts.held_out.hashes}


def test_rows_with_the_same_key_are_in_one_part() -> None:
    rows: list[dict[str, object]] = [{"title": f"Shirt {n // 3}", "size": n} for n in range(900)]
    parts = split(Table(rows, np.array(["a", "b", "c"] * 300, dtype=object), key=("title",)))
    sides = [{row["title"] for row in part.rows} for part in (parts.train, parts.held_out, parts.unseen)]
    assert sum(map(len, sides)) == 300
    assert len(set.union(*sides)) == 300


def test_a_correction_of_a_near_copy_of_a_held_out_row_does_not_train() -> None:
    rows: list[dict[str, object]] = [{"title": f"Shirt {n}", "size": 1} for n in range(200)]
    table = Table(rows, np.array(["a", "b"] * 100, dtype=object), key=("title",))
    held = split(table).held_out.rows[0]
    parts = split(table, [correction({**held, "size": 2}, "a", trusted=True)])
    assert parts.corrections_used == 0
    assert len(parts.live.table) == 1


def test_all_parts_keep_the_weights_of_the_table() -> None:
    table = replace(NUMBERS, weights={"legitimate": 22.2})
    parts = split(table, [correction({"x": 0.5})])
    assert parts.train.weights == parts.held_out.weights == parts.unseen.weights == {"legitimate": 22.2}


def test_the_hash_of_an_image_depends_on_its_bytes() -> None:
    one, same, other = (ImageRef.of_bytes(content) for content in (b"one", b"one", b"other"))
    assert row_hash({"image": one}) == row_hash({"image": same}) != row_hash({"image": other})


def test_a_frame_has_its_columns_in_order_and_missing_numbers_as_nan() -> None:
    made = frame([{"b": None, "a": "x"}, {"a": "y", "b": 1}], {"a": Modality.TEXT, "b": Modality.NUMBER})
    assert list(made.columns) == ["a", "b"]
    assert list(made["a"]) == ["x", "y"]
    assert np.isnan(made["b"][0])
    assert made["b"].dtype == np.float64


def test_a_frame_keeps_images_and_has_an_empty_string_for_a_missing_category() -> None:
    image = ImageRef.of_bytes(b"bytes")
    columns = {"kind": Modality.CATEGORY, "image": Modality.IMAGE}
    made = frame([{"kind": "a", "image": image}, {"kind": None}], columns)
    assert list(made["kind"]) == ["a", ""]
    assert list(made["image"]) == [image, None]


def test_a_row_without_its_optional_column_is_still_the_same_row() -> None:
    base = Table([{"a": n, "b": "coast"} for n in range(40)], np.zeros(40), key=("a",), identity=("a",))
    place = next(n for n, side in enumerate(base.sides) if not is_held_out(side) and not is_unseen(side))
    made = Correction({"a": place, "b": None}, 7.0, "ann", trusted=True, created_at="2026-11-21")
    train = split(base, [made]).train
    assert [truth for row, truth in zip(train.rows, train.truths, strict=True) if row["a"] == place] == [7.0]


def test_a_reference_to_a_number_of_any_length_has_a_hash() -> None:
    assert row_hash({"text": f"&#{'9' * 5_000};"}) == row_hash({"text": "\ufffd"})
