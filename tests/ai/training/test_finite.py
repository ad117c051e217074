"""Numbers and labels that cannot be stored: refused before a version is logged, and named as the reason of the job."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from ai_api.commands import training
from ai_api.datasets import Table
from ai_api.errors import NoFinitePrediction, TrainingFailed
from ai_api.inference import predict
from ai_api.jobs import child
from ai_api.settings import Settings
from ai_api.training.train import check_finite, check_labels
from tests.ai.support.small import small_housing

HOUSING = small_housing("housing")
COLUMNS = {"x": "number"}


class Scale:
    """Predicts the number times 1e10, from features that overflow as a linear model's do."""

    def predict(self, inputs: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        with np.errstate(over="ignore"):
            return np.asarray(inputs["x"]) * 1e300


@pytest.mark.parametrize("name", ["rmse", "interval_low", "interval_high"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_version_whose_metric_is_not_finite_is_not_logged(name: str, value: float) -> None:
    measured = {"rmse": 0.5, "interval_low": 0.4, "interval_high": 0.6, "r2": math.nan}
    check_finite(HOUSING, measured)
    with pytest.raises(TrainingFailed, match="rmse on the held-out rows is not a finite number"):
        check_finite(HOUSING, {**measured, name: value})


@pytest.mark.parametrize("label", ["", " ", "a\0", "a\n", "\x85", "a" * 201])
def test_a_label_that_data_api_would_refuse_is_not_trained(label: str) -> None:
    rows: list[dict[str, object]] = [{"text": "a"}, {"text": "b"}]
    check_labels(Table(rows, np.array(["a", " b "], dtype=object)))
    check_labels(Table(rows, np.array([1.0, 2.0])))
    with pytest.raises(TrainingFailed, match="a label of the data set"):
        check_labels(Table(rows, np.array(["a", label], dtype=object)))


@pytest.mark.parametrize("number", [1e308, -1e308, 3.5e38, 1e10, 10**400])
def test_a_row_without_a_finite_prediction_is_refused(number: float) -> None:
    model = Scale()
    assert predict(model, COLUMNS, None, [{"x": 2.0}]) == [{"value": 2e300}]
    with pytest.raises(NoFinitePrediction):
        predict(model, COLUMNS, None, [{"x": 2.0}, {"x": number}])


def test_a_row_with_a_gap_is_predicted() -> None:
    class Filled:
        def predict(self, inputs: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
            return np.nan_to_num(np.asarray(inputs["x"]))

    assert predict(Filled(), COLUMNS, None, [{"x": None}]) == [{"value": 0.0}]


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Mapping[str, object]]]:
    """What the child process tells its parent."""
    sent: list[tuple[str, Mapping[str, object]]] = []
    monkeypatch.setattr(child, "ChildOutput", lambda: lambda kind, data: sent.append((kind, data)))
    return sent


def _fails_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> int:
    def fit(*_: object) -> None:
        raise error

    monkeypatch.setattr(training, "find_task", fit)
    return training._train_for_parent(Settings(), Namespace(task="housing"))


@pytest.mark.parametrize("error", [ValueError("ann lives here"), FloatingPointError("ann"), KeyError("ann")])
def test_an_error_that_would_repeat_ends_the_job_with_its_kind_and_place(
    monkeypatch: pytest.MonkeyPatch, events: list[tuple[str, Mapping[str, object]]], error: Exception
) -> None:
    assert _fails_with(monkeypatch, error) == 1
    [(kind, data)] = events
    kind_of_error = type(error).__name__
    assert (kind, data["error"]) == ("error", kind_of_error)
    detail = f"The training stopped with {kind_of_error} in test_finite.fit, called from training._train_for_parent."
    assert data["detail"] == detail


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "no space"), RuntimeError("CUDA error")])
def test_an_error_of_the_machine_is_a_crash_so_that_the_job_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, events: list[tuple[str, Mapping[str, object]]], error: Exception
) -> None:
    with pytest.raises(type(error)):
        _fails_with(monkeypatch, error)
    assert events == []
