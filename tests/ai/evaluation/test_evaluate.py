"""Metrics mean what scikit-learn means by them, weighted or not; intervals, baselines and slices are what they say."""

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
from ai_api.evaluation.evaluate import answer, answer_of, baseline, interval, judge, measure, per_class, slices
from ai_api.evaluation.metrics import METRICS, Predictions
from ai_api.task import Kind, Task
from ai_api.tracking.plots import plots
from ai_api.training.threshold import with_threshold
from tests.ai.small import small_housing, small_tweets

RANDOM = np.random.default_rng(0)
LABELS = np.array(["a", "b", "c"], dtype=object)
TRUE = RANDOM.choice(LABELS, 300, p=(0.7, 0.2, 0.1))
SAID = Predictions(RANDOM.choice(LABELS, 300), labels=("a", "b", "c"))
NUMBER, GUESS = RANDOM.normal(2, 1, 300), Predictions(RANDOM.normal(2, 1, 300))
ASKED = RANDOM.choice(np.array(["no", "yes"], dtype=object), 300, p=(0.8, 0.2))
CHANCE = np.round(0.2 * (ASKED == "yes") + 0.8 * RANDOM.random(300), 1)  # rounded: many ties
TOLD = Predictions(
    np.where(CHANCE >= 0.5, "yes", "no").astype(object), np.column_stack([1 - CHANCE, CHANCE]), ("no", "yes"), "yes"
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
    expected = reference(TRUE.astype(str), SAID.said.astype(str), weights)
    assert METRICS[name].score(TRUE, SAID, weights) == pytest.approx(expected)


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
    expected = reference(NUMBER, GUESS.said, sample_weight=weights)
    assert METRICS[name].score(NUMBER, GUESS, weights) == pytest.approx(expected)


@weighted_or_not
@pytest.mark.parametrize(
    ("name", "reference"),
    [("pr_auc", metrics.average_precision_score), ("roc_auc", metrics.roc_auc_score)],
)
def test_metrics_of_scores_are_those_of_scikit_learn_with_ties(
    name: str, reference: Reference, weights: Floats
) -> None:
    expected = reference(ASKED == "yes", CHANCE, sample_weight=weights)
    assert METRICS[name].score(ASKED, TOLD, weights) == pytest.approx(expected)


@weighted_or_not
@pytest.mark.parametrize(
    ("name", "reference"),
    [("precision", metrics.precision_score), ("recall", metrics.recall_score), ("f1", metrics.f1_score)],
)
def test_metrics_of_the_label_that_is_looked_for_are_those_of_scikit_learn(
    name: str, reference: Reference, weights: Floats
) -> None:
    expected = reference(ASKED == "yes", CHANCE >= 0.5, sample_weight=weights)
    assert METRICS[name].score(ASKED, TOLD, weights) == pytest.approx(expected)


def test_a_class_that_no_row_weighs_in_does_not_count() -> None:
    truths, weights = np.array(["a", "b"], dtype=object), np.array([1.0, 0.0])
    for name in ("macro_recall", "macro_f1", "weighted_f1"):
        assert METRICS[name].score(truths, Predictions(truths), weights) == 1


def test_a_label_that_was_never_true_costs_precision_only() -> None:
    truths = np.array(["a", "a"], dtype=object)
    said = Predictions(np.array(["a", "x"], dtype=object))
    assert METRICS["macro_recall"].score(truths, said, np.ones(2)) == 0.5
    assert METRICS["macro_f1"].score(truths, said, np.ones(2)) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("name", "nothing"), [("pr_auc", 0.0), ("roc_auc", 0.5)])
def test_a_resample_without_the_label_says_nothing(name: str, nothing: float) -> None:
    assert METRICS[name].score(ASKED, TOLD, np.asarray(ASKED == "no", dtype=float)) == nothing


def test_a_version_that_never_learnt_the_label_scores_it_at_nothing() -> None:
    ignorant = Predictions(np.full(300, "no", dtype=object), np.ones((300, 1)), ("no",), "yes")
    assert METRICS["roc_auc"].score(ASKED, ignorant, PLAIN) == 0.5


def test_a_metric_of_scores_says_what_it_lacks() -> None:
    with pytest.raises(ValueError, match="positive"):
        METRICS["pr_auc"].score(TRUE, SAID, PLAIN)


def test_a_thousand_resamples_of_many_rows_and_classes_take_seconds() -> None:
    labels = np.array([f"class {number}" for number in range(141)], dtype=object)
    truths = RANDOM.choice(labels, 8_000)
    started = time.monotonic()
    low, high = interval(
        METRICS["weighted_f1"], truths, Predictions(np.concatenate([truths[1:], truths[:1]])), 1_000, 0
    )
    assert low < high
    assert time.monotonic() - started < 20  # half a second on a free core


def test_an_interval_holds_the_metric_and_narrows_with_more_rows() -> None:
    found = METRICS["rmse"].score(NUMBER, GUESS, PLAIN)
    low, high = interval(METRICS["rmse"], NUMBER, GUESS, 300, 0)
    assert low < found < high
    many = interval(METRICS["rmse"], np.tile(NUMBER, 9), Predictions(np.concatenate([GUESS.said] * 9)), 300, 0)
    assert many[1] - many[0] < (high - low) / 2
    assert interval(METRICS["rmse"], NUMBER, GUESS, 300, 0) == (low, high)


def test_figures_at_the_real_shares_weigh_each_row_by_what_it_stands_for() -> None:
    table = Table([{"x": n} for n in range(300)], ASKED, weights={"no": 10.0})
    found = judge(YESNO, table, TOLD, rounds=50)
    weights = np.where(ASKED == "no", 10.0, 1.0)
    expected = metrics.average_precision_score(ASKED == "yes", CHANCE, sample_weight=weights)
    assert found["weighted_to_real_pr_auc"] == pytest.approx(expected)
    assert found["weighted_to_real_precision"] < found["precision"]
    assert found["weighted_to_real_recall"] == found["recall"]
    plain = judge(YESNO, replace(table, weights={}), TOLD, rounds=50)
    assert not [name for name in plain if name.startswith("weighted")]


def test_every_class_has_its_own_figures() -> None:
    found = per_class(TRUE, SAID)
    report = metrics.classification_report(TRUE.astype(str), SAID.said.astype(str), output_dict=True)
    for label in ("a", "b", "c"):
        assert found[f"precision.{label}"] == pytest.approx(report[label]["precision"])
        assert found[f"recall.{label}"] == pytest.approx(report[label]["recall"])
        assert found[f"f1.{label}"] == pytest.approx(report[label]["f1-score"])


def test_the_baseline_answers_the_commonest_label_or_the_mean() -> None:
    labels = Table([{"text": str(n)} for n in range(4)], np.array(["a", "a", "a", "b"], dtype=object))
    assert baseline(TWEETS, labels, labels)["baseline_macro_recall"] == 0.5
    numbers = Table([{"x": n} for n in range(3)], np.array([1.0, 2.0, 3.0]))
    assert baseline(HOUSING, numbers, numbers)["baseline_r2"] == pytest.approx(0)
    asked = Table([{"x": n} for n in range(300)], ASKED)
    found = baseline(YESNO, asked, asked)
    assert found["baseline_pr_auc"] == pytest.approx(np.mean(ASKED == "yes"))
    assert found["baseline_roc_auc"] == 0.5


def test_the_metric_of_the_task_is_measured_first() -> None:
    assert next(iter(measure(HOUSING, NUMBER, GUESS))) == "rmse"
    assert list(measure(YESNO, ASKED, TOLD)) == ["pr_auc", "roc_auc", "precision", "recall", "f1"]


def test_answers_follow_the_threshold_of_a_pipeline() -> None:
    task, table = small_tweets("tweets", 40), Table([{"text": "x"}] * 10, np.array(["no"] * 7 + ["yes"] * 3, object))
    rows = frame(table.rows, task.row.modalities())
    pipeline = Pipeline([("estimator", DummyClassifier().fit(rows, table.truths))])
    asked = replace(task, positive="yes")
    assert set(answer(pipeline, asked, table).said) == {"no"}
    assert set(answer(with_threshold(pipeline, "yes", 0.31), asked, table).said) == {"no"}
    deciding = answer(with_threshold(pipeline, "yes", 0.3), asked, table)
    assert set(deciding.said) == {"yes"}
    np.testing.assert_allclose(deciding.of_positive()[1], 0.3)
    assert answer_of(pipeline[-1], rows).labels == ("no", "yes")


def test_an_empty_table_gets_no_answers() -> None:
    empty = Table([], np.array([], dtype=object))
    pipeline = Pipeline([("estimator", DummyClassifier().fit([[0], [1]], ["no", "yes"]))])
    assert len(answer(pipeline, TWEETS, empty)) == 0


def test_slices_are_classes_or_quarters_and_hold_every_row_once() -> None:
    assert set(slices(TWEETS, TRUE)) == {"a", "b", "c"}
    quarters = slices(HOUSING, NUMBER)
    assert [wanted.sum() for wanted in quarters.values()] == [75] * 4
    assert np.sum(list(quarters.values()), axis=0).tolist() == [1] * 300


@pytest.mark.parametrize(
    ("task", "truths", "answers", "drawn"),
    [
        (TWEETS, TRUE, SAID, {"confusion"}),
        (HOUSING, NUMBER, GUESS, {"residuals"}),
        (YESNO, ASKED, TOLD, {"confusion", "precision_recall", "calibration"}),
    ],
    ids=["labels", "values", "yes or no"],
)
def test_plots_are_drawn_for_each_kind(task: Task, truths: Truths, answers: Predictions, drawn: set[str]) -> None:
    figures = plots(task, truths, answers, 0.4)
    assert set(figures) == drawn
    if task.kind is Kind.CLASSIFICATION:
        written = {text.get_text() for text in figures["confusion"].axes[0].texts}
        assert written
    if "precision_recall" in figures:
        assert "threshold 0.4" in figures["precision_recall"].axes[0].get_legend_handles_labels()[1]


def test_a_confusion_of_many_classes_is_drawn_without_words() -> None:
    labels = np.array([f"class {number}" for number in range(141)], dtype=object)
    figure = plots(TWEETS, labels, Predictions(labels[::-1], labels=tuple(labels)))["confusion"]
    assert not figure.axes[0].texts
    assert figure.axes[0].images[0].get_size() == (141, 141)
