"""A row keeps its side for good: which digits of its digest decide, and what a correction of a held-out row is for."""

from __future__ import annotations

import numpy as np
import pytest

from ai_api.corrections import Correction
from ai_api.datasets import Split, Table, is_held_out, is_unseen, is_within, normalise, row_hash, split
from ai_api.images import ImageRef


@pytest.mark.parametrize(("digits", "expected"), [("33333333", True), ("33333334", False), ("00000000", True)])
def test_the_first_8_digits_hold_out_a_fifth(digits: str, expected: bool) -> None:
    assert is_held_out(digits + "f" * 24) is expected
    assert is_held_out(digits + "0" * 24) is expected


@pytest.mark.parametrize(("digits", "expected"), [("7fffffff", True), ("80000000", False)])
def test_the_next_8_digits_decide_which_share_of_the_rows_is_used(digits: str, expected: bool) -> None:
    assert is_within("f" * 8 + digits + "f" * 16, 0.5) is expected
    assert is_within("0" * 8 + digits + "0" * 16, 0.5) is expected
    assert is_within("f" * 8 + digits + "f" * 16, 1.0)


@pytest.mark.parametrize(("digits", "expected"), [("051eb851", True), ("051eb852", False)])
def test_the_third_8_digits_keep_a_fiftieth_unseen(digits: str, expected: bool) -> None:
    assert is_unseen("f" * 16 + digits + "f" * 8) is expected
    assert is_unseen("0" * 16 + digits + "0" * 8) is expected


def test_digests_are_those_of_earlier_releases() -> None:
    assert row_hash({"text": "late again, thanks"}) == "455c640fddc2f1bdff5239a0c0c87740"
    assert row_hash({"MedInc": 3.2, "HouseAge": 41, "open": True, "note": None}) == "4fbb77cea152f4927c1e292956206eae"


@pytest.mark.parametrize("title", [None, ""])
def test_an_empty_column_of_the_identity_is_the_same_as_an_absent_one(title: str | None) -> None:
    table = Table([], np.array([], dtype=object), identity=("title", "text"), key=("title", "text"))
    row: dict[str, object] = {"title": title, "text": "a", "size": 1}
    assert table.identify(row) == table.identify({"text": "a", "size": 2})
    assert table.side(row) == table.side({"text": "a", "size": 2})


@pytest.mark.parametrize("row", [{"size": 1}, {"size": 1, "title": None}, {"size": 1, "title": ""}])
def test_a_row_without_its_key_is_identified_by_all_its_columns(row: dict[str, object]) -> None:
    table = Table([], np.array([], dtype=object), identity=("title",), key=("title",))
    assert table.identify(row) == row_hash(row)
    assert table.side(row) == row_hash(row)
    assert table.identify(row) != table.identify({**row, "size": 2})


def test_an_image_is_identified_by_the_hash_of_its_bytes() -> None:
    image = ImageRef.of_bytes(b"red")
    assert row_hash({"image": image}) == row_hash({"image": image.reference})


@pytest.mark.parametrize("text", ["\\ud83d", "a \\ud83d b", "\\ude00\\ud83d"])
def test_half_of_an_escaped_pair_becomes_a_replacement_character(text: str) -> None:
    assert "\ufffd" in normalise(text)
    assert normalise(text).encode()


def official_table(count: int = 200) -> Table:
    """The publisher holds out every second row, whatever the digest of a row says."""
    rows: list[dict[str, object]] = [{"text": f"row {number}"} for number in range(count)]
    return Table(rows, np.array(["a", "b"] * (count // 2), dtype=object), official=np.arange(count) % 2 == 0)


@pytest.mark.parametrize("trusted", [False, True])
def test_a_correction_of_a_row_that_the_publisher_holds_out_is_live_and_never_trains(trusted: bool) -> None:
    table = official_table()
    corrections = [Correction(row, "b", "ann", trusted, "2026-11-02") for row in table.rows[::2]]
    parts = split(table, corrections)
    assert parts.corrections_used == 0
    assert len(parts.live.table) == len(corrections)
    assert not set(parts.train.hashes) & set(parts.held_out.hashes)


def test_every_split_is_checked_for_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[Split] = []
    monkeypatch.setattr(Split, "check", lambda parts: checked.append(parts))
    parts = split(official_table())
    assert len(checked) == 1
    assert checked[0] is parts
