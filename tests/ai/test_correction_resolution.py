"""Several corrections of one row give one truth, in whatever order they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

import pytest

from ai_api.corrections import Correction, resolve

ROW: dict[str, object] = {"text": "late again"}


def correction(truth: str | float, user: str, created_at: str, *, trusted: bool = False) -> Correction:
    return Correction(ROW, truth, user, trusted, created_at)


def text_of(row: Mapping[str, object]) -> str:
    return str(row["text"])


def truths(corrections: Sequence[Correction]) -> set[str | float]:
    """The truths that the corrections give in all orders."""
    return {resolve(order, text_of)["late again"].truth for order in permutations(corrections)}


@pytest.mark.parametrize(
    ("corrections", "truth"),
    [
        ([correction("a", "ann", "2026-11-01"), correction("b", "ann", "2026-11-02")], "b"),
        (
            [
                correction("a", "ann", "2026-11-01", trusted=True),
                correction("b", "bob", "2026-11-03", trusted=True),
                correction("c", "eve", "2026-11-04"),
                correction("c", "joe", "2026-11-05"),
            ],
            "b",
        ),
        ([correction("a", "ann", "2026-11-02"), correction("b", "bob", "2026-11-01")], "a"),
        (
            [
                correction("a", "ann", "2026-11-01"),
                correction("a", "bob", "2026-11-02"),
                correction("b", "eve", "2026-11-03"),
            ],
            "a",
        ),
        (
            [
                correction("a", "ann", "2026-11-01"),
                correction("b", "ann", "2026-11-04"),
                correction("a", "bob", "2026-11-02"),
                correction("b", "eve", "2026-11-03"),
            ],
            "b",
        ),
    ],
    ids=["latest of one person", "latest trusted", "newest of equal counts", "commonest", "commonest of latest"],
)
def test_the_label_does_not_depend_on_the_order_of_the_corrections(corrections: list[Correction], truth: str) -> None:
    assert truths(corrections) == {truth}


@pytest.mark.parametrize(
    ("values", "truth"),
    [((1.0, 2.0, 10.0), 2.0), ((-5.0, -4.0, 3.0), -4.0), ((7.0,), 7.0)],
)
def test_of_the_values_of_several_people_the_one_nearest_to_the_median_counts(
    values: Sequence[float], truth: float
) -> None:
    assert truths([correction(value, f"user {value}", f"2026-11-0{n}") for n, value in enumerate(values)]) == {truth}


def test_only_the_latest_value_of_each_person_counts_for_the_median() -> None:
    corrections = [
        correction(100.0, "ann", "2026-11-01"),
        correction(1.0, "ann", "2026-11-02"),
        correction(2.0, "bob", "2026-11-03"),
        correction(3.0, "eve", "2026-11-04"),
    ]
    assert truths(corrections) == {2.0}


def test_rows_are_resolved_apart() -> None:
    other = Correction({"text": "other"}, "b", "bob", False, "2026-11-02")
    resolved = resolve([correction("a", "ann", "2026-11-01"), other], text_of)
    assert {digest: found.truth for digest, found in resolved.items()} == {"late again": "a", "other": "b"}
