"""Metrics equal scikit-learn's, weighted or not; intervals, baselines, metrics by class, slices and plots."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline

from ai_api.datasets import Table, Truths, frame
from ai_api.evaluation.evaluate import (
    baseline,
    interval,
    measure,
    measure_with_interval,
    per_class,
    predict_inputs,
    predict_table,
    slices,
)
from ai_api.evaluation.metrics import METRICS, Predictions
from ai_api.task import Kind, Task
from ai_api.tracking.plots import plots
from ai_api.training.threshold import with_threshold
from tests.ai.support.small import small_housing, small_tweets

RANDOM = np.random.default_rng(0)
LABELS = np.array(["a", "b", "c"], dtype=object)
TRUTHS = RANDOM.choice(LABELS, 300, p=(0.7, 0.2, 0.1))
PREDICTED = Predictions(RANDOM.choice(LABELS, 300), labels=("a", "b", "c"))
VALUES, ESTIMATES = RANDOM.normal(2, 1, 300), Predictions(RANDOM.normal(2, 1, 300))
BINARY = RANDOM.choice(np.array(["no", "yes"], dtype=object), 300, p=(0.8, 0.2))
PROBABILITIES = np.round(0.2 * (BINARY == "yes") + 0.8 * RANDOM.random(300), 1)  # rounded: many ties
BINARY_PREDICTED = Predictions(
    np.where(PROBABILITIES >= 0.5, "yes", "no").astype(object),
    np.column_stack([1 - PROBABILITIES, PROBABILITIES]),
    ("no", "yes"),
    "yes",
)
PLAIN, WEIGHTS = np.ones(300), RANDOM.integers(0, 4, 300).astype(float)
TWEETS, HOUSING = small_tweets("tweets"), small_housing("housing")
YESNO = replace(TWEETS, metric="pr_auc", metrics=("roc_auc", "precision", "recall", "f1"), positive="yes")

Reference = Callable[..., float]
Floats = NDArray[np.float64]
weighted_or_not = pytest.mark.parametrize("weights", [PLAIN, WEIGHTS], ids=["plain", "weighted"])


@weighted_or_not
@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("macro_recall", lambda t, s, w: metrics.recall_score(t, s, average="macro", sample_weight=w)),
        ("macro_f1", lambda t, s, w: metrics.f1_score(t, s, average="macro", sample_weight=w)),
        ("weighted_f1", lambda t, s, w: metrics.f1_score(t, s, average="weighted", sample_weight=w)),
        ("accuracy", lambda t, s, w: metrics.accuracy_score(t, s, sample_weight=w)),
    ],
)
def test_metrics_of_labels_are_those_of_scikit_learn(name: str, reference: Reference, weights: Floats) -> None:
    expected = reference(TRUTHS.astype(str), PREDICTED.predicted.astype(str), weights)
    assert METRICS[name].score(TRUTHS, PREDICTED, weights) == pytest.approx(expected)


@weighted_or_not
@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("rmse", metrics.root_mean_squared_error),
        ("mae", metrics.mean_absolute_error),
        ("r2", metrics.r2_score),
    ],
)
def test_metrics_of_values_are_those_of_scikit_learn(name: str, reference: Reference, weights: Floats) -> None:
    expected = reference(VALUES, ESTIMATES.predicted, sample_weight=weights)
    assert METRICS[name].score(VALUES, ESTIMATES, weights) == pytest.approx(expected)


@weighted_or_not
@pytest.mark.parametrize(
    ("name", "reference"),
    [("pr_auc", metrics.average_precision_score), ("roc_auc", metrics.roc_auc_score)],
)
def test_metrics_of_scores_are_those_of_scikit_learn_with_ties(
    name: str, reference: Reference, weights: Floats
) -> None:
    expected = reference(BINARY == "yes", PROBABILITIES, sample_weight=weights)
    assert METRICS[name].score(BINARY, BINARY_PREDICTED, weights) == pytest.approx(expected)


@weighted_or_not
@pytest.mark.parametrize(
    ("name", "reference"),
    [("precision", metrics.precision_score), ("recall", metrics.recall_score), ("f1", metrics.f1_score)],
)
def test_metrics_of_the_positive_label_are_those_of_scikit_learn(
    name: str, reference: Reference, weights: Floats
) -> None:
    expected = reference(BINARY == "yes", PROBABILITIES >= 0.5, sample_weight=weights)
    assert METRICS[name].score(BINARY, BINARY_PREDICTED, weights) == pytest.approx(expected)


def test_a_class_whose_rows_have_weight_0_is_left_out_of_averages() -> None:
    truths, weights = np.array(["a", "b"], dtype=object), np.array([1.0, 0.0])
    for name in ("macro_recall", "macro_f1", "weighted_f1"):
        assert METRICS[name].score(truths, Predictions(truths), weights) == 1


def test_a_label_that_is_predicted_but_never_true_lowers_precision_only() -> None:
    truths = np.array(["a", "a"], dtype=object)
    predicted = Predictions(np.array(["a", "x"], dtype=object))
    assert METRICS["macro_recall"].score(truths, predicted, np.ones(2)) == 0.5
    assert METRICS["macro_f1"].score(truths, predicted, np.ones(2)) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("name", "neutral"), [("pr_auc", 0.0), ("roc_auc", 0.5)])
def test_a_resample_without_positive_rows_has_the_neutral_value(name: str, neutral: float) -> None:
    assert METRICS[name].score(BINARY, BINARY_PREDICTED, np.asarray(BINARY == "no", dtype=float)) == neutral


def test_a_version_that_was_never_trained_on_the_positive_label_gives_it_probability_0() -> None:
    untrained = Predictions(np.full(300, "no", dtype=object), np.ones((300, 1)), ("no",), "yes")
    assert METRICS["roc_auc"].score(BINARY, untrained, PLAIN) == 0.5


def test_a_metric_of_probabilities_needs_the_positive_label() -> None:
    with pytest.raises(ValueError, match="positive"):
        METRICS["pr_auc"].score(TRUTHS, PREDICTED, PLAIN)


def test_a_thousand_resamples_of_many_rows_and_classes_take_seconds() -> None:
    labels = np.array([f"class {number}" for number in range(141)], dtype=object)
    truths = RANDOM.choice(labels, 8_000)
    started = time.process_time()
    low, high = interval(
        METRICS["weighted_f1"], truths, Predictions(np.concatenate([truths[1:], truths[:1]])), 1_000, 0
    )
    assert low < high
    assert time.process_time() - started < 20  # half a second on a free core


def test_an_interval_contains_the_metric_and_is_narrower_with_more_rows() -> None:
    found = METRICS["rmse"].score(VALUES, ESTIMATES, PLAIN)
    low, high = interval(METRICS["rmse"], VALUES, ESTIMATES, 300, 0)
    assert low < found < high
    many = interval(METRICS["rmse"], np.tile(VALUES, 9), Predictions(np.concatenate([ESTIMATES.predicted] * 9)), 300, 0)
    assert many[1] - many[0] < (high - low) / 2
    assert interval(METRICS["rmse"], VALUES, ESTIMATES, 300, 0) == (low, high)


def test_metrics_at_the_real_shares_weight_each_row_by_how_many_it_stands_for() -> None:
    table = Table([{"x": n} for n in range(300)], BINARY, weights={"no": 10.0})
    found = measure_with_interval(YESNO, table, BINARY_PREDICTED, rounds=50)
    weights = np.where(BINARY == "no", 10.0, 1.0)
    expected = metrics.average_precision_score(BINARY == "yes", PROBABILITIES, sample_weight=weights)
    assert found["weighted_to_real_pr_auc"] == pytest.approx(expected)
    assert found["weighted_to_real_precision"] < found["precision"]
    assert found["weighted_to_real_recall"] == found["recall"]
    plain = measure_with_interval(YESNO, replace(table, weights={}), BINARY_PREDICTED, rounds=50)
    assert not [name for name in plain if name.startswith("weighted")]


def test_every_class_has_its_own_metrics() -> None:
    found = per_class(TRUTHS, PREDICTED)
    report = metrics.classification_report(TRUTHS.astype(str), PREDICTED.predicted.astype(str), output_dict=True)
    for label in ("a", "b", "c"):
        assert found[f"precision.{label}"] == pytest.approx(report[label]["precision"])
        assert found[f"recall.{label}"] == pytest.approx(report[label]["recall"])
        assert found[f"f1.{label}"] == pytest.approx(report[label]["f1-score"])


def test_the_baseline_predicts_the_commonest_label_or_the_mean() -> None:
    labels = Table([{"text": str(n)} for n in range(4)], np.array(["a", "a", "a", "b"], dtype=object))
    assert baseline(TWEETS, labels, labels)["baseline_macro_recall"] == 0.5
    numbers = Table([{"x": n} for n in range(3)], np.array([1.0, 2.0, 3.0]))
    assert baseline(HOUSING, numbers, numbers)["baseline_r2"] == pytest.approx(0)
    binary = Table([{"x": n} for n in range(300)], BINARY)
    found = baseline(YESNO, binary, binary)
    assert found["baseline_pr_auc"] == pytest.approx(np.mean(BINARY == "yes"))
    assert found["baseline_roc_auc"] == 0.5


def test_the_deciding_metric_of_the_task_comes_first() -> None:
    assert next(iter(measure(HOUSING, VALUES, ESTIMATES))) == "rmse"
    assert list(measure(YESNO, BINARY, BINARY_PREDICTED)) == ["pr_auc", "roc_auc", "precision", "recall", "f1"]


def test_predictions_follow_the_threshold_of_a_pipeline() -> None:
    task, table = small_tweets("tweets", 40), Table([{"text": "x"}] * 10, np.array(["no"] * 7 + ["yes"] * 3, object))
    rows = frame(table.rows, task.row.modalities())
    pipeline = Pipeline([("estimator", DummyClassifier().fit(rows, table.truths))])
    binary = replace(task, positive="yes")
    assert set(predict_table(pipeline, binary, table).predicted) == {"no"}
    assert set(predict_table(with_threshold(pipeline, "yes", 0.31), binary, table).predicted) == {"no"}
    deciding = predict_table(with_threshold(pipeline, "yes", 0.3), binary, table)
    assert set(deciding.predicted) == {"yes"}
    np.testing.assert_allclose(deciding.of_positive()[1], 0.3)
    assert predict_inputs(pipeline[-1], rows).labels == ("no", "yes")


def test_an_empty_table_has_no_predictions() -> None:
    empty = Table([], np.array([], dtype=object))
    pipeline = Pipeline([("estimator", DummyClassifier().fit([[0], [1]], ["no", "yes"]))])
    assert len(predict_table(pipeline, TWEETS, empty)) == 0


def test_slices_are_classes_or_quarters_and_contain_every_row_once() -> None:
    assert set(slices(TWEETS, TRUTHS)) == {"a", "b", "c"}
    quarters = slices(HOUSING, VALUES)
    assert [wanted.sum() for wanted in quarters.values()] == [75] * 4
    assert np.sum(list(quarters.values()), axis=0).tolist() == [1] * 300


@pytest.mark.parametrize(
    ("task", "truths", "predictions", "names"),
    [
        (TWEETS, TRUTHS, PREDICTED, {"confusion"}),
        (HOUSING, VALUES, ESTIMATES, {"residuals"}),
        (YESNO, BINARY, BINARY_PREDICTED, {"confusion", "precision_recall", "calibration"}),
    ],
    ids=["labels", "values", "yes or no"],
)
def test_plots_are_drawn_for_each_kind(task: Task, truths: Truths, predictions: Predictions, names: set[str]) -> None:
    figures = plots(task, truths, predictions, 0.4)
    assert set(figures) == names
    if task.kind is Kind.CLASSIFICATION:
        written = {text.get_text() for text in figures["confusion"].axes[0].texts}
        assert written
    if "precision_recall" in figures:
        assert "threshold 0.4" in figures["precision_recall"].axes[0].get_legend_handles_labels()[1]


def test_a_confusion_matrix_of_many_classes_has_no_labels() -> None:
    labels = np.array([f"class {number}" for number in range(141)], dtype=object)
    figure = plots(TWEETS, labels, Predictions(labels[::-1], labels=tuple(labels)))["confusion"]
    assert not figure.axes[0].texts
    assert figure.axes[0].images[0].get_size() == (141, 141)
