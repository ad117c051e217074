"""A line of data-api's export becomes a correction with its truth, its person, and whether that person is trusted."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from ai_api.datasets import Table
from ai_api.task import Task
from ai_api.training.corrections import read_corrections
from tests.ai.support.small import small_housing, small_tweets

TWEETS, HOUSING = small_tweets("tweets"), small_housing("housing")
LABELS = Table([{"text": "a"}, {"text": "b"}], np.array(["negative", "positive"], dtype=object))
VALUES = Table([{"x": 1.0}], np.array([1.0]))
HOUSE = HOUSING.load(None).rows[0]  # type: ignore[arg-type]  # generated, so nothing is read


def line(**changes: object) -> dict[str, object]:
    """One line of the export: a label for a tweet."""
    return {
        "id": "0199aa31",
        "row": {"text": "late again"},
        "row_schema": 1,
        "label": "negative",
        "value": None,
        "user_id": "ann",
        "user_role": "user",
        "created_at": "2026-11-02T00:00:00Z",
        **changes,
    }


def value_line(value: object) -> dict[str, object]:
    return line(row=HOUSE, label=None, value=value)


@pytest.mark.parametrize(
    ("role", "is_trusted"),
    [("trainer", True), ("admin", True), ("user", False), ("service", False), (None, False)],
)
def test_trainers_and_admins_are_trusted_and_nobody_else(role: str | None, is_trusted: bool) -> None:
    (correction,) = read_corrections(TWEETS, LABELS, [line(user_role=role)])
    assert correction.trusted is is_trusted
    assert (correction.truth, correction.user) == ("negative", "ann")


def test_corrections_whose_values_are_too_large_to_be_squared_are_left_out_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    given = [value_line(value) for value in (1e308, -1e308, 1.1e15, 1e15, -0.0, 5e-324)]
    kept = read_corrections(HOUSING, VALUES, given)
    assert [correction.truth for correction in kept] == [1e15, -0.0, 5e-324]
    assert "3 corrections are left out" in caplog.text
    assert "1e+308" not in caplog.text


def test_a_line_without_a_role_is_not_trusted() -> None:
    given = line()
    del given["user_role"]
    assert [correction.trusted for correction in read_corrections(TWEETS, LABELS, [given])] == [False]


def test_the_time_of_a_correction_is_its_own_or_else_its_id() -> None:
    corrections = read_corrections(TWEETS, LABELS, [line(), line(created_at=None)])
    assert [correction.created_at for correction in corrections] == ["2026-11-02T00:00:00Z", "0199aa31"]


def test_values_correct_a_regression() -> None:
    corrections = read_corrections(HOUSING, VALUES, [value_line(2.5), value_line("3")])
    assert [correction.truth for correction in corrections] == [2.5, 3.0]


@pytest.mark.parametrize("value", [None, "many", {}])
def test_a_correction_of_a_regression_without_a_number_is_left_out(value: object) -> None:
    assert read_corrections(HOUSING, VALUES, [value_line(value)]) == []


@pytest.mark.parametrize("row", [None, 5, "text", [1, 2]])
def test_a_line_whose_row_is_no_mapping_is_left_out(row: object) -> None:
    assert [correction.row for correction in read_corrections(TWEETS, LABELS, [line(row=row), line()])] == [
        {"text": "late again"}
    ]


def test_a_line_without_its_row_or_label_is_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    lines = [{name: value for name, value in line().items() if name != missing} for missing in ("row", "label")]
    with caplog.at_level(logging.WARNING):
        assert read_corrections(TWEETS, LABELS, lines) == []
    assert caplog.messages == ["2 corrections do not fit the present row schema or labels and are left out"]


def marked(row: dict[str, object], version: int) -> dict[str, object]:
    return {"text": f"{row['text']} from schema {version}"}


@pytest.mark.parametrize(
    ("task", "schema", "text"),
    [
        (replace(TWEETS, upgrade=marked), None, "late again"),
        (replace(TWEETS, upgrade=marked), 1, "late again"),
        (replace(TWEETS, upgrade=marked, row_version=3), None, "late again from schema 1"),
        (replace(TWEETS, upgrade=marked, row_version=3), 2, "late again from schema 2"),
        (replace(TWEETS, upgrade=marked, row_version=3), 3, "late again"),
    ],
)
def test_rows_of_an_earlier_schema_are_upgraded_and_no_others(task: Task, schema: int | None, text: str) -> None:
    (correction,) = read_corrections(task, LABELS, [line(row_schema=schema)])
    assert correction.row == {"text": text}
