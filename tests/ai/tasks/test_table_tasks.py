"""Housing, fraud and churn: rows of the published layout become rows of the task, generated or real."""

from __future__ import annotations

import gzip
import io
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from ai_api.datasets import Table, frame, is_held_out, row_hash, split
from ai_api.errors import DataUnavailable, InvalidData
from ai_api.pipeline import build_pipeline
from ai_api.sources import Source
from ai_api.task import Modality, Task
from ai_api.tasks import churn, fraud, housing

TASKS = (housing.TASK, fraud.TASK, churn.TASK)
MIRROR = os.environ.get("AI_DATA_MIRROR")
real = pytest.mark.skipif(not MIRROR, reason="the real rows are where AI_DATA_MIRROR says")


def generated(task: Task) -> Table:
    return {"housing": housing.generate_housing, "fraud": fraud.generate_fraud, "churn": churn.generate_churn}[
        task.name
    ](800)


def read(task: Task, raw: Path, mirror: str | None = MIRROR) -> Table:
    return task.load(Source(raw, Path(mirror) if mirror else None, timeout_seconds=0.1))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_generated_rows_are_rows_of_the_task_and_the_same_for_the_same_seed(task: Task) -> None:
    table = generated(task)
    for row in table.rows:
        assert task.row.model_validate(row).model_dump() == {name: row[name] for name in task.row.model_fields}
    assert table.digest() == generated(task).digest()


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_every_recipe_builds_before_any_data_is_read(task: Task) -> None:
    for recipe in task.recipes:
        build_pipeline(task, recipe)
    assert len({recipe.name for recipe in task.recipes}) == len(task.recipes)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_row_made_of_its_own_examples_is_valid(task: Task) -> None:
    task.row(**{name: info.examples[0] for name, info in task.row.model_fields.items() if info.examples})


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_without_mirror_and_network_rows_are_generated_and_marked_synthetic(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Source, "_download", _unreachable)
    assert read(task, tmp_path, None).synthetic


def _unreachable(*_: object) -> bytes:
    raise DataUnavailable("no network")


@pytest.mark.parametrize("parse", [churn.parse, fraud.parse])
@pytest.mark.parametrize("content", [b"", b"not,the,columns\n1,2,3\n", b"\xff\xfe\x00"])
def test_a_file_of_another_layout_is_not_taken_for_the_data_set(parse: object, content: bytes) -> None:
    with pytest.raises(InvalidData):
        parse(content)  # type: ignore[operator]


# housing


@real
def test_housing_has_its_ninth_column_and_its_gaps(tmp_path: Path) -> None:
    table = read(housing.TASK, tmp_path)
    assert len(table) == 17_544
    assert Counter(row["ocean_proximity"] for row in table.rows)["ISLAND"] == 5
    assert sum(row["AveBedrms"] is None for row in table.rows) == 167


def test_the_ninth_column_moves_no_house_to_the_other_side() -> None:
    table = housing.generate_housing(500)
    for row, side in zip(table.rows, table.sides, strict=True):
        before = {name: row[name] for name in housing.KEY}
        assert side == row_hash(before) == table.side(before) == table.side({**row, "ocean_proximity": None})
    parts = split(table)
    assert len(parts.held_out) == sum(map(is_held_out, table.sides))


def test_a_house_of_eight_numbers_is_still_a_house() -> None:
    row = {name: housing.House.model_fields[name].examples[0] for name in housing.KEY}  # type: ignore[index]
    assert housing.House(**row).ocean_proximity is None
    assert housing.House.columns(Modality.CATEGORY) == ["ocean_proximity"]
    assert housing.TASK.row_version == 1


def test_a_house_has_a_prediction_with_and_without_its_ninth_column() -> None:
    table = housing.generate_housing(400)
    for recipe in housing.TASK.recipes:
        quick = {"boosting": "max_iter", "catboost": "iterations"}.get(recipe.estimator, "n_estimators")
        pipeline = build_pipeline(housing.TASK, recipe.with_params({quick: 5}))
        pipeline.fit(frame(table.rows, housing.House.modalities()), table.truths)
        bare = [{name: row[name] for name in housing.KEY} for row in table.rows[:3]]
        assert np.isfinite(pipeline.predict(frame(bare, housing.House.modalities()))).all()


# fraud


@real
def test_fraud_uses_the_sample_with_the_weights_of_its_rows(tmp_path: Path) -> None:
    table = read(fraud.TASK, tmp_path)
    assert Counter(table.truths) == {"legitimate": 10_876, "fraud": 418}
    assert table.weights == {"legitimate": pytest.approx(22.22, abs=0.01)}
    assert split(table).train.weights == table.weights


@real
def test_exact_repeats_of_a_fraud_stay_on_one_side(tmp_path: Path) -> None:
    table = read(fraud.TASK, tmp_path)
    repeated = [side for side, count in Counter(table.sides).items() if count > 1]
    assert len(repeated) > 5
    parts = split(table)
    assert not set(parts.train.sides) & set(parts.held_out.sides)


def test_the_whole_file_is_read_as_published_without_weights(tmp_path: Path) -> None:
    content = fraud.generate_file(300, 0)
    assert content.startswith(b'"Time","V1"')
    (tmp_path / "fraud").mkdir()
    (tmp_path / "fraud" / "creditcard.csv").write_bytes(content)
    table = read(fraud.TASK, tmp_path / "raw", str(tmp_path))
    assert len(table) == content.count(b"\n") - 1
    assert table.weights == {}
    assert set(table.truths) == {"fraud", "legitimate"}
    (tmp_path / "fraud" / "creditcard_sample.csv.gz").write_bytes(gzip.compress(fraud.generate_file(50, 1)))
    assert read(fraud.TASK, tmp_path / "raw", str(tmp_path)).weights == fraud.SAMPLED


def test_a_payment_has_thirty_numbers_and_may_lack_its_time() -> None:
    assert len(fraud.Payment.columns(Modality.NUMBER)) == 30
    row = fraud.generate_fraud(10).rows[0]
    assert fraud.Payment(**{**row, "Time": None}).Time is None  # type: ignore[arg-type]
    for wrong in ({"Amount": -1.0}, {"V1": None}, {"V1": float("nan")}, {"V29": 0.0}):
        with pytest.raises(ValidationError):
            fraud.Payment(**{**row, **wrong})  # type: ignore[arg-type]


# churn


@real
def test_churn_has_its_columns_and_turns_blanks_into_gaps(tmp_path: Path) -> None:
    table = read(churn.TASK, tmp_path)
    assert Counter(table.truths) == {"No": 4_398, "Yes": 1_589}
    blank = [row for row in table.rows if row["TotalCharges"] is None]
    assert len(blank) == 10
    assert {row["tenure"] for row in blank} == {0}


def test_generated_churn_has_the_published_layout() -> None:
    raw = pd.read_csv(io.BytesIO(churn.generate_file(500, 0)), dtype=str)
    assert next(iter(raw)) == "customerID"
    assert list(raw)[1:-1] == list(churn.Customer.model_fields)
    assert (raw["TotalCharges"] == " ").any()
    assert all("customerID" not in row for row in churn.generate_churn(50).rows)


def test_a_customer_is_made_of_categories_and_numbers() -> None:
    assert len(churn.Customer.columns(Modality.CATEGORY)) == 15
    assert churn.Customer.columns(Modality.NUMBER) == ["SeniorCitizen", "tenure", "MonthlyCharges", "TotalCharges"]
    row = churn.generate_churn(10).rows[0]
    with pytest.raises(ValidationError):
        churn.Customer(**{**row, "Contract": "for ever"})  # type: ignore[arg-type]
