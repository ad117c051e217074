"""Held-out rows and their near copies are never in the training part, and no step of a pipeline is fitted on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import Pipeline

from ai_api.datasets import Split, Table, split
from ai_api.errors import LeakedRows
from ai_api.evaluation.evaluate import measure, predict_table
from ai_api.evaluation.metrics import Predictions
from ai_api.pipeline import build_pipeline
from ai_api.sources import Source
from ai_api.task import Recipe, Task
from ai_api.training.candidate import make_candidate
from ai_api.training.crossval import crossval
from tests.ai.support.small import small_housing, small_tweets
from tests.ai.training.frauds import RECIPE, TABLE, small_frauds

pytestmark = pytest.mark.training

FRAUDS = small_frauds()
TITLES = [f"Red shirt number {number}" for number in range(300)]
PRODUCTS = Table(
    [{"title": title, "size": float(number)} for number, title in enumerate(TITLES)],
    np.array(["shirt", "hat", "shoe"] * 100, dtype=object),
    key=("title",),
)

Row = dict[str, object]


def with_training_row(parts: Split, row: Row) -> Split:
    """The split with one more training row."""
    train = parts.train
    more = Table([*train.rows, row], np.concatenate([train.truths, train.truths[:1]]), key=train.key)
    return replace(parts, train=more)


@pytest.mark.parametrize(
    "copy",
    [
        lambda row: dict(row),
        lambda row: {**row, "title": f"  {str(row['title']).upper()}\n"},
        lambda row: {**row, "title": str(row["title"]).replace(" ", "&nbsp; ")},
        lambda row: {**row, "size": -1.0},
    ],
    ids=["the row", "another case and blanks", "written in HTML", "another row of the same key"],
)
def test_a_held_out_row_or_near_copy_in_the_training_part_is_detected(copy: Callable[[Row], Row]) -> None:
    parts = split(PRODUCTS)
    parts.check()
    with pytest.raises(LeakedRows, match="1 held-out rows, or near copies"):
        with_training_row(parts, copy(parts.held_out.rows[0])).check()


def test_another_row_in_the_training_part_is_accepted() -> None:
    with_training_row(split(PRODUCTS), {"title": "Another shirt", "size": 1.0}).check()


def test_a_near_copy_in_the_data_set_is_left_out_of_the_training_part() -> None:
    held = split(PRODUCTS).held_out.rows[0]
    copies: list[Row] = [{**held, "size": -1.0}, {**held, "title": str(held["title"]).upper(), "size": -2.0}]
    table = Table([*PRODUCTS.rows, *copies], np.array([*PRODUCTS.truths, "hat", "hat"], dtype=object), key=("title",))
    parts = split(table)
    assert [row for row in parts.train.rows if row["size"] in (-1.0, -2.0)] == []


def test_near_copies_of_a_row_held_out_by_the_publisher_do_not_train() -> None:
    official = np.arange(300) == 7
    table = Table(
        [*PRODUCTS.rows, {"title": TITLES[7].upper(), "size": 0.0}],
        np.array([*PRODUCTS.truths, "hat"], dtype=object),
        official=np.append(official, [False]),
        key=("title",),
    )
    parts = split(table)
    assert len(parts.held_out) == 1
    assert TITLES[7].upper() not in {row["title"] for row in parts.train.rows}


class Probe(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Passes its inputs on and records the amounts that it was fitted on."""

    fitted_on: list[set[float]] = []  # noqa: RUF012  (clones share it)

    def fit(self, inputs: pd.DataFrame, _: object = None) -> Probe:
        self.fitted_on.append(set(inputs["Amount"]))
        self.fitted_ = True
        return self

    def transform(self, inputs: pd.DataFrame) -> pd.DataFrame:
        return inputs


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[set[float]]:
    """The amounts that each pipeline was fitted on."""

    def with_probe(task: Task, recipe: Recipe, seed: int = 0) -> Pipeline:
        pipeline = build_pipeline(task, recipe, seed)
        return type(pipeline)([("probe", Probe()), *pipeline.steps])

    Probe.fitted_on.clear()
    monkeypatch.setattr("ai_api.training.candidate.build_pipeline", with_probe)
    return Probe.fitted_on


def amounts(table: Table) -> set[float]:
    return {float(str(row["Amount"])) for row in table.rows}


def numbered(table: Table) -> Table:
    """Every row with an amount of its own."""
    return Table(
        [{**row, "Amount": float(place)} for place, row in enumerate(table.rows)], table.truths, weights=table.weights
    )


@pytest.mark.parametrize("resample", [None, "smote", "undersample"])
def test_all_steps_and_the_threshold_are_fitted_on_the_training_part_only(
    fits: list[set[float]], resample: str | None
) -> None:
    parts = split(numbered(TABLE))
    candidate = make_candidate(FRAUDS, replace(RECIPE, resample=resample), parts.train, seed=0)
    assert len(fits) == 4, "once for the version, and once in each fold that chooses its threshold"
    assert fits[0] == amounts(parts.train)
    assert all(seen < amounts(parts.train) for seen in fits[1:])
    held, unseen = amounts(parts.held_out), amounts(parts.unseen)
    assert not any(seen & (held | unseen) for seen in fits)
    before = len(fits)
    predict_table(candidate.pipeline, FRAUDS, parts.held_out)
    assert len(fits) == before


def test_no_step_is_fitted_on_the_fold_that_it_is_tested_on(
    fits: list[set[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    tested: list[set[float]] = []

    def recorded(pipeline: Pipeline, task: Task, table: Table) -> Predictions:
        tested.append(amounts(table))
        return predict_table(pipeline, task, table)

    monkeypatch.setattr("ai_api.training.crossval.predict_table", recorded)
    table = numbered(TABLE)
    crossval(replace(FRAUDS, load=lambda _: table), RECIPE, Source(Path()), folds=3)
    assert len(fits) == 3 * 4
    for fold, held in enumerate(tested):
        assert not any(seen & held for seen in fits[4 * fold : 4 * fold + 4])
    assert set.union(*tested) == amounts(table) - amounts(split(table).unseen)


@pytest.mark.parametrize(
    ("task", "recipe"),
    [
        (small_housing("housing"), Recipe("boosting", params={"max_iter": 20})),
        (small_housing("housing"), Recipe("forest", params={"n_estimators": 10})),
        (small_housing("housing"), Recipe("xgboost", params={"n_estimators": 10, "subsample": 0.5})),
        (small_tweets("tweets", 300), Recipe("logreg", text="tfidf")),
        (FRAUDS, Recipe("logreg", resample="smote")),
        (FRAUDS, Recipe("logreg", resample="undersample")),
        (FRAUDS, Recipe("lightgbm", params={"n_estimators": 10, "subsample": 0.5})),
    ],
    ids=lambda value: value.name,
)
def test_the_same_seed_and_rows_give_the_same_metrics(task: Task, recipe: Recipe) -> None:
    parts = split(task.load(Source(Path())))
    one, again = (
        measure(task, parts.held_out.truths, predict_table(candidate.pipeline, task, parts.held_out))
        for candidate in (make_candidate(task, recipe, parts.train, seed=3) for _ in range(2))
    )
    assert one == pytest.approx(again, abs=1e-6)
