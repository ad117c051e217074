"""Metrics mean what scikit-learn means by them, weighted or not; baselines and slices are what they are called."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from ai_api.datasets import Table
from ai_api.training.evaluate import METRICS, baseline, measure, plots, slices
from tests.ai.small import small_housing, small_tweets

RANDOM = np.random.default_rng(0)
LABELS = np.array(["a", "b", "c"], dtype=object)
TRUE, SAID = RANDOM.choice(LABELS, 300, p=(0.7, 0.2, 0.1)), RANDOM.choice(LABELS, 300)
NUMBER, GUESS = RANDOM.normal(2, 1, 300), RANDOM.normal(2, 1, 300)
WEIGHTS = RANDOM.integers(0, 4, 300).astype(float)
TWEETS, HOUSING = small_tweets("tweets"), small_housing("housing")


@pytest.mark.parametrize("weights", [np.ones(300), WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("macro_recall", lambda t, s, w: metrics.recall_score(t, s, average="macro", sample_weight=w)),
        ("macro_f1", lambda t, s, w: metrics.f1_score(t, s, average="macro", sample_weight=w)),
        ("accuracy", lambda t, s, w: metrics.accuracy_score(t, s, sample_weight=w)),
    ],
)
def test_classification_metrics_are_those_of_scikit_learn(name: str, reference: object, weights: np.ndarray) -> None:
    expected = reference(TRUE.astype(str), SAID.astype(str), weights)  # type: ignore[operator]
    assert METRICS[name].score(TRUE, SAID, weights) == pytest.approx(expected)


@pytest.mark.parametrize("weights", [np.ones(300), WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("rmse", metrics.root_mean_squared_error),
        ("mae", metrics.mean_absolute_error),
        ("r2", metrics.r2_score),
    ],
)
def test_regression_metrics_are_those_of_scikit_learn(name: str, reference: object, weights: np.ndarray) -> None:
    expected = reference(NUMBER, GUESS, sample_weight=weights)  # type: ignore[operator]
    assert METRICS[name].score(NUMBER, GUESS, weights) == pytest.approx(expected)


def test_a_class_that_no_row_weighs_in_does_not_count() -> None:
    truths = np.array(["a", "b"], dtype=object)
    assert METRICS["macro_recall"].score(truths, truths, np.array([1.0, 0.0])) == 1


def test_the_baseline_answers_the_commonest_label_or_the_mean() -> None:
    labels = Table([{"text": str(n)} for n in range(4)], np.array(["a", "a", "a", "b"], dtype=object))
    assert baseline(TWEETS, labels, labels)["baseline_macro_recall"] == 0.5
    numbers = Table([{"x": n} for n in range(3)], np.array([1.0, 2.0, 3.0]))
    assert baseline(HOUSING, numbers, numbers)["baseline_r2"] == pytest.approx(0)


def test_the_metric_of_the_task_is_measured() -> None:
    assert HOUSING.metric in measure(HOUSING, NUMBER, GUESS)
    assert TWEETS.metric in measure(TWEETS, TRUE, SAID)


def test_slices_are_classes_or_quarters_and_hold_every_row_once() -> None:
    assert set(slices(TWEETS, TRUE)) == {"a", "b", "c"}
    quarters = slices(HOUSING, NUMBER)
    assert [wanted.sum() for wanted in quarters.values()] == [75] * 4
    assert np.sum(list(quarters.values()), axis=0).tolist() == [1] * 300


def test_plots_are_drawn_for_either_kind() -> None:
    assert set(plots(TWEETS, TRUE, SAID, ("a", "b", "c"))) == {"confusion"}
    assert set(plots(HOUSING, NUMBER, GUESS, None)) == {"residuals"}
