"""A version serves only if it reproduces the predictions recorded at its training, row by row and in one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import cast

import pytest
from sklearn.pipeline import Pipeline

from ai_api.errors import ModelRefused
from ai_api.inference import ModelOutput
from ai_api.registry.versions import LoadedModel, Version
from ai_api.serving.model_check import agree, check_model
from ai_api.task import Kind, Recipe, Row, Task

Rows = Sequence[Mapping[str, object]]


class Number(Row):
    """One number."""

    x: float


TASK = Task(
    name="sums", kind=Kind.REGRESSION, row=Number, metric="rmse", margin=0.1,
    load=lambda source: (_ for _ in ()).throw(AssertionError("no data are read here")), recipes=(Recipe("sum"),),
)  # fmt: skip
SAMPLE: list[tuple[dict[str, object], ModelOutput]] = [({"x": float(x)}, {"value": x + 1.0}) for x in range(6)]


def correct(rows: Rows) -> list[ModelOutput]:
    return [{"value": float(str(row["x"])) + 1} for row in rows]


def wrong_in_a_batch(rows: Rows) -> list[ModelOutput]:
    return correct(rows) if len(rows) == 1 else [{"value": 0.0} for _ in rows]


def wrong_alone(rows: Rows) -> list[ModelOutput]:
    return correct(rows) if len(rows) > 1 else [{"value": 99.0}]


def wrong_on_the_last_row(rows: Rows) -> list[ModelOutput]:
    return [*correct(rows)[:-1], {"value": 99.0}] if len(rows) > 1 else correct(rows)


def too_few(rows: Rows) -> list[ModelOutput]:
    return correct(rows) if len(rows) == 1 else correct(rows)[:-1]


def no_numbers(rows: Rows) -> list[ModelOutput]:
    return [{"value": "1.0"} for _ in rows]


class FunctionModel(LoadedModel):
    """Predicts with a function."""

    def predict(self, rows: Rows) -> list[ModelOutput]:
        return cast("list[ModelOutput]", self.schema["function"](rows))  # type: ignore[operator]


def model(
    function: Callable[[Rows], list[ModelOutput]],
    sample: list[tuple[dict[str, object], ModelOutput]] | None = None,
    row_version: int = 1,
) -> LoadedModel:
    version = Version(
        task="sums", number=1, run_id="r", recipe="sum", created_at=datetime.now(UTC), aliases=(), metrics={},
        labels=None, synthetic=False, row_version=row_version, data_hash="", digest="",
        registered_at=datetime.now(UTC),
    )  # fmt: skip
    sample = SAMPLE if sample is None else sample
    return FunctionModel(version, cast("Pipeline", None), columns={}, schema={"function": function}, sample=sample)


def test_a_version_that_reproduces_its_predictions_is_accepted() -> None:
    check_model(TASK, model(correct))


@pytest.mark.parametrize("function", [wrong_in_a_batch, wrong_alone, wrong_on_the_last_row, no_numbers])
def test_a_version_with_one_other_prediction_is_refused(function: Callable[[Rows], list[ModelOutput]]) -> None:
    with pytest.raises(ModelRefused):
        check_model(TASK, model(function))


def test_a_version_that_returns_too_few_predictions_is_refused() -> None:
    with pytest.raises(ModelRefused):
        check_model(TASK, model(too_few))


def test_a_version_without_a_sample_is_refused() -> None:
    with pytest.raises(ModelRefused, match="no sample"):
        check_model(TASK, model(correct, sample=[]))


@pytest.mark.parametrize("row_version", [0, 2])
def test_a_version_of_another_row_schema_is_refused(row_version: int) -> None:
    with pytest.raises(ModelRefused, match="Retrain"):
        check_model(TASK, model(correct, row_version=row_version))


def test_a_version_whose_sample_is_no_row_of_the_task_is_refused() -> None:
    with pytest.raises(ModelRefused, match="fails on its own sample"):
        check_model(TASK, model(correct, sample=[*SAMPLE, ({"y": 1.0}, {"value": 2.0})]))


@pytest.mark.parametrize(("difference", "is_equal"), [(0.0, True), (0.019, True), (0.021, False), (-0.021, False)])
def test_probabilities_agree_within_two_hundredths(difference: float, is_equal: bool) -> None:
    recorded: ModelOutput = {"label": "a", "probabilities": {"a": 0.6, "b": 0.4}}
    output: ModelOutput = {"label": "a", "probabilities": {"a": 0.6, "b": 0.4 + difference}}
    assert agree(output, recorded) is is_equal


@pytest.mark.parametrize(
    ("value", "recorded", "is_equal"),
    [
        (1_000.9, 1_000.0, True),
        (1_001.1, 1_000.0, False),
        (998.9, 1_000.0, False),
        (0.0009, 0.0, True),
        (0.0011, 0.0, False),
        (float("nan"), 1.0, False),
    ],
)
def test_values_agree_within_a_thousandth(value: float, recorded: float, is_equal: bool) -> None:
    assert agree({"value": value}, {"value": recorded}) is is_equal


@pytest.mark.parametrize("scores", [None, [0.6, 0.4], {}, {"a": 0.6}, {"a": 0.6, "b": 0.4, "c": 0.0}])
def test_probabilities_of_other_labels_do_not_agree(scores: object) -> None:
    recorded: ModelOutput = {"label": "a", "probabilities": {"a": 0.6, "b": 0.4}}
    assert not agree({"label": "a", "probabilities": scores}, recorded)
    assert not agree(recorded, {"label": "a", "probabilities": scores})
