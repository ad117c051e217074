"""Which digits of a row's digest decide its side. They must never change: rows would move between training and test."""

from __future__ import annotations

import numpy as np
import pytest

from ai_api.datasets import Table, is_held_out, is_unseen, is_within, row_hash


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
