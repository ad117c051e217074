"""The gate promotes a better version, rejects a worse one, and is robust to biased and false corrections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from ai_api.datasets import LiveRows, Table, Truths
from ai_api.evaluation.gate import (
    LIVE_ROWS,
    PEOPLE,
    SLICE_ROWS,
    GateDecision,
    PairedPredictions,
    balance,
    compare,
    decide,
)
from ai_api.evaluation.metrics import METRICS, Predictions
from ai_api.task import Task
from tests.ai.support.small import small_housing, small_tweets

HOUSING, TWEETS = small_housing("housing"), small_tweets("tweets")
LABELS = np.array(["negative", "neutral", "positive"], dtype=object)
NO_LIVE_ROWS = LiveRows(Table([], np.array([])), np.array([], dtype=object), np.array([], dtype=bool))
EMPTY = PairedPredictions(np.array([]), Predictions(np.array([])), Predictions(np.array([])))


def predictions_of(truths: NDArray[np.object_], right: float, random: np.random.Generator) -> NDArray[np.object_]:
    """Predictions that are right this often; a wrong one is the next label."""
    next_label = {label: LABELS[(index + 1) % 3] for index, label in enumerate(LABELS)}
    wrong = np.array([next_label[truth] for truth in truths], dtype=object)
    return np.where(random.random(len(truths)) < right, truths, wrong)


def rows_of(truths: Truths, champion: Truths, challenger: Truths) -> PairedPredictions:
    return PairedPredictions(truths, Predictions(champion), Predictions(challenger))


def joined(*parts: PairedPredictions) -> PairedPredictions:
    return rows_of(
        np.concatenate([part.truths for part in parts]),
        np.concatenate([part.champion.predicted for part in parts]),
        np.concatenate([part.challenger.predicted for part in parts]),
    )


def labels(champion: float, challenger: float, rows: int = 2_000, seed: int = 0) -> PairedPredictions:
    random = np.random.default_rng(seed)
    truths = random.choice(LABELS, rows)
    return rows_of(truths, predictions_of(truths, champion, random), predictions_of(truths, challenger, random))


def numbers(champion: float, challenger: float, rows: int = 2_000, seed: int = 0) -> PairedPredictions:
    random = np.random.default_rng(seed)
    truths = random.uniform(0, 5, rows)
    return rows_of(truths, truths + random.normal(0, champion, rows), truths + random.normal(0, challenger, rows))


def corrected_by(rows: PairedPredictions, users: int, *, trusted: bool = False) -> LiveRows:
    count = len(rows.truths)
    names = np.array([f"user {place % users}" for place in range(count)], dtype=object)
    return LiveRows(Table([{"x": n} for n in range(count)], rows.truths), names, np.full(count, trusted))


def decision_of(
    task: Task, fixed: PairedPredictions, live: PairedPredictions = EMPTY, live_rows: LiveRows = NO_LIVE_ROWS
) -> GateDecision:
    return decide(task, fixed, live, live_rows, rounds=300)


@pytest.mark.parametrize(("task", "fixed"), [(TWEETS, labels(0.65, 0.72)), (HOUSING, numbers(0.5, 0.45))])
def test_a_better_version_is_promoted(task: Task, fixed: PairedPredictions) -> None:
    decision = decision_of(task, fixed)
    assert decision.promote, decision.reason
    assert "better on the fixed rows" in decision.reason
    assert decision.fixed is not None
    assert 0 < decision.fixed.low < decision.fixed.delta < decision.fixed.high


@pytest.mark.parametrize(("task", "fixed"), [(TWEETS, labels(0.70, 0.63)), (HOUSING, numbers(0.45, 0.5))])
def test_a_worse_version_is_not_promoted_and_the_reason_names_the_margin(task: Task, fixed: PairedPredictions) -> None:
    decision = decision_of(task, fixed)
    assert not decision.promote
    assert "worse on the fixed rows by more than the margin" in decision.reason
    assert str(task.margin) in decision.reason


def test_an_equal_version_is_not_promoted() -> None:
    rows = labels(0.7, 0.7)
    decision = decision_of(TWEETS, PairedPredictions(rows.truths, rows.champion, rows.champion))
    assert not decision.promote
    assert "not clearly better" in decision.reason


def test_a_version_that_is_worse_in_one_class_is_not_promoted_though_better_overall() -> None:
    better, worse = labels(0.5, 0.9, 3_000), labels(0.9, 0.6, 3_000, seed=1)
    fixed = joined(better.pick(better.truths != "negative"), worse.pick(worse.truths == "negative"))
    decision = decision_of(TWEETS, fixed)
    assert decision.fixed is not None
    assert decision.fixed.low > 0
    assert not decision.promote
    assert "worse on 'negative'" in decision.reason


def test_a_slice_below_the_minimum_size_is_not_compared() -> None:
    rows = labels(0.5, 0.9, SLICE_ROWS)
    rare, wrong = np.full(100, "rare", dtype=object), np.full(100, "neutral", dtype=object)
    decision = decision_of(TWEETS, joined(rows, rows, rows, rows_of(rare, rare, wrong)))
    assert "rare" not in decision.slices


def test_better_live_rows_promote_a_version_that_is_equal_on_the_fixed_rows() -> None:
    fixed, live = labels(0.70, 0.70, seed=1), labels(0.6, 0.75, 1_000, seed=2)
    fixed = PairedPredictions(fixed.truths, fixed.champion, fixed.champion)
    decision = decision_of(TWEETS, fixed, live, corrected_by(live, users=20))
    assert decision.promote, decision.reason
    assert "better on the live rows" in decision.reason


def test_worse_live_rows_reject_a_version_that_is_better_on_the_fixed_rows() -> None:
    live = labels(0.75, 0.6, 1_000)
    decision = decision_of(TWEETS, labels(0.65, 0.72), live, corrected_by(live, users=20))
    assert not decision.promote
    assert "worse on the live rows" in decision.reason


def test_live_rows_on_which_the_champion_is_always_wrong_are_not_used() -> None:
    fixed, live = labels(0.7, 0.7, seed=1), labels(0.7, 0.7, 3_000)
    only_wrong = live.pick(live.champion.predicted != live.truths)
    fixed = PairedPredictions(fixed.truths, fixed.champion, fixed.champion)
    decision = decision_of(TWEETS, fixed, only_wrong, corrected_by(only_wrong, users=20))
    assert not decision.promote
    assert decision.live is None
    assert "live rows are not used" in decision.reason


def test_live_rows_are_weighted_to_the_champions_error_rate_on_the_fixed_rows() -> None:
    fixed, live = labels(0.7, 0.7, seed=1), labels(0.7, 0.7, 6_000)
    kept = (live.champion.predicted != live.truths) | (
        np.arange(6_000) % 10 == 0
    )  # people confirm a tenth of the correct predictions
    biased = live.pick(kept)
    weights = balance(TWEETS, fixed, biased)
    assert weights is not None
    plain = compare(METRICS["macro_recall"], biased, 200, 0)
    weighted = compare(METRICS["macro_recall"], biased, 200, 0, weights)
    assert plain.low > 0.2
    assert abs(weighted.delta) < 0.05


def test_live_rows_of_a_regression_are_weighted_by_the_size_of_the_champions_errors() -> None:
    fixed, live = numbers(0.5, 0.5, seed=1), numbers(0.5, 0.5, 6_000)
    large = np.abs(live.champion.predicted - live.truths) > 0.5
    biased = live.pick(large | (np.arange(6_000) % 10 == 0))
    weights = balance(HOUSING, fixed, biased)
    assert weights is not None
    rmse = METRICS["rmse"]
    assert compare(rmse, biased, 200, 0, weights).delta < compare(rmse, biased, 200, 0).delta / 2


@pytest.mark.parametrize(("users", "trusted", "promoted"), [(1, False, False), (PEOPLE, False, True), (1, True, True)])
def test_corrections_of_one_untrusted_person_cannot_promote_a_version(
    users: int, trusted: bool, promoted: bool
) -> None:
    fixed, live = labels(0.7, 0.7, seed=1), labels(0.5, 0.9, 1_000, seed=2)
    fixed = PairedPredictions(fixed.truths, fixed.champion, fixed.champion)
    decision = decision_of(TWEETS, fixed, live, corrected_by(live, users, trusted=trusted))
    assert decision.promote is promoted, decision.reason


def test_live_rows_below_the_minimum_number_are_not_used() -> None:
    live = labels(0.9, 0.1, LIVE_ROWS - 1)
    decision = decision_of(TWEETS, labels(0.65, 0.72), live, corrected_by(live, users=20))
    assert decision.promote
    assert "too few" in decision.reason


def test_the_same_seed_gives_the_same_interval() -> None:
    rows, metric = labels(0.65, 0.7), METRICS["macro_recall"]
    assert compare(metric, rows, 100, seed=3) == compare(metric, rows, 100, seed=3)
    assert compare(metric, rows, 100, seed=3) != compare(metric, rows, 100, seed=4)


def binary_predictions(skill: float, rows: int = 1_500, seed: int = 0) -> tuple[Truths, Predictions]:
    """Truths, one in ten of them "yes", and probabilities that separate the labels better the higher `skill` is."""
    random = np.random.default_rng(seed)
    truths = np.where(np.arange(rows) % 10 == 0, "yes", "no").astype(object)
    scores = 1 / (1 + np.exp(-skill * (truths == "yes") - random.normal(0, 1, rows)))
    predicted = np.where(scores >= 0.5, "yes", "no").astype(object)
    return truths, Predictions(predicted, np.column_stack([1 - scores, scores]), ("no", "yes"), "yes")


@pytest.mark.parametrize("metric", ["pr_auc", "roc_auc"])
def test_a_metric_of_probabilities_decides_when_the_predicted_labels_are_equal(metric: str) -> None:
    task = replace(TWEETS, metric=metric, positive="yes", margin=0.02)
    truths, champion = binary_predictions(2.0)
    _, challenger = binary_predictions(3.0, seed=1)
    alike = replace(challenger, predicted=champion.predicted)
    assert decision_of(task, PairedPredictions(truths, champion, alike)).promote
    back = decision_of(task, PairedPredictions(truths, alike, champion))
    assert not back.promote
    assert metric in back.reason


def test_slices_are_compared_by_recall_also_if_the_metric_is_of_probabilities() -> None:
    task = replace(TWEETS, metric="pr_auc", positive="yes", margin=0.02)
    truths, champion = binary_predictions(3.0, rows=3_000)
    timid = replace(champion, predicted=np.full(3_000, "no", dtype=object))
    decision = decision_of(task, PairedPredictions(truths, champion, timid))
    assert decision.fixed is not None
    assert decision.fixed.delta == 0
    assert decision.slices["yes"].delta == pytest.approx(-np.mean(champion.predicted[truths == "yes"] == "yes"))
    assert "worse on 'yes'" in decision.reason


def test_champion_and_challenger_may_have_been_trained_on_different_labels() -> None:
    task = replace(TWEETS, metric="pr_auc", positive="yes", margin=0.02)
    truths, trained = binary_predictions(3.0)
    untrained = Predictions(np.full(1_500, "no", dtype=object), np.ones((1_500, 1)), ("no",), "yes")
    decision = decision_of(task, PairedPredictions(truths, untrained, trained))
    assert decision.fixed is not None
    assert decision.fixed.low > 0
