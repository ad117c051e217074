"""The gate lets a better version through, keeps a worse one out, and is not fooled by who corrects what."""

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
from tests.ai.small import small_housing, small_tweets

HOUSING, TWEETS = small_housing("housing"), small_tweets("tweets")
LABELS = np.array(["negative", "neutral", "positive"], dtype=object)
NOBODY = LiveRows(Table([], np.array([])), np.array([], dtype=object), np.array([], dtype=bool))
EMPTY = PairedPredictions(np.array([]), Predictions(np.array([])), Predictions(np.array([])))


def answered(truths: NDArray[np.object_], right: float, random: np.random.Generator) -> NDArray[np.object_]:
    """Predictions that are right this often; a wrong one is the next label."""
    following = {label: LABELS[(place + 1) % 3] for place, label in enumerate(LABELS)}
    wrong = np.array([following[truth] for truth in truths], dtype=object)
    return np.where(random.random(len(truths)) < right, truths, wrong)


def rows_of(truths: Truths, champion: Truths, challenger: Truths) -> PairedPredictions:
    return PairedPredictions(truths, Predictions(champion), Predictions(challenger))


def joined(*parts: PairedPredictions) -> PairedPredictions:
    return rows_of(
        *(np.concatenate(part) for part in zip(*((r.truths, r.champion.said, r.challenger.said) for r in parts)))  # noqa: B905
    )


def labels(champion: float, challenger: float, rows: int = 2_000, seed: int = 0) -> PairedPredictions:
    random = np.random.default_rng(seed)
    truths = random.choice(LABELS, rows)
    return rows_of(truths, answered(truths, champion, random), answered(truths, challenger, random))


def numbers(champion: float, challenger: float, rows: int = 2_000, seed: int = 0) -> PairedPredictions:
    random = np.random.default_rng(seed)
    truths = random.uniform(0, 5, rows)
    return rows_of(truths, truths + random.normal(0, champion, rows), truths + random.normal(0, challenger, rows))


def people(rows: PairedPredictions, users: int, *, trusted: bool = False) -> LiveRows:
    count = len(rows.truths)
    names = np.array([f"user {place % users}" for place in range(count)], dtype=object)
    return LiveRows(Table([{"x": n} for n in range(count)], rows.truths), names, np.full(count, trusted))


def judged(
    task: Task, fixed: PairedPredictions, live: PairedPredictions = EMPTY, who: LiveRows = NOBODY
) -> GateDecision:
    return decide(task, fixed, live, who, rounds=300)


@pytest.mark.parametrize(("task", "fixed"), [(TWEETS, labels(0.65, 0.72)), (HOUSING, numbers(0.5, 0.45))])
def test_a_better_version_is_promoted(task: Task, fixed: PairedPredictions) -> None:
    decision = judged(task, fixed)
    assert decision.promote, decision.reason
    assert "better on the fixed rows" in decision.reason
    assert decision.fixed is not None
    assert 0 < decision.fixed.low < decision.fixed.delta < decision.fixed.high


@pytest.mark.parametrize(("task", "fixed"), [(TWEETS, labels(0.70, 0.63)), (HOUSING, numbers(0.45, 0.5))])
def test_a_worse_version_is_not_promoted_and_the_reason_says_so(task: Task, fixed: PairedPredictions) -> None:
    decision = judged(task, fixed)
    assert not decision.promote
    assert "worse on the fixed rows by more than the margin" in decision.reason
    assert str(task.margin) in decision.reason


def test_an_equal_version_is_not_promoted() -> None:
    rows = labels(0.7, 0.7)
    decision = judged(TWEETS, PairedPredictions(rows.truths, rows.champion, rows.champion))
    assert not decision.promote
    assert "not clearly better" in decision.reason


def test_a_version_that_is_worse_in_one_class_is_not_promoted_though_better_overall() -> None:
    better, worse = labels(0.5, 0.9, 3_000), labels(0.9, 0.6, 3_000, seed=1)
    fixed = joined(better.pick(better.truths != "negative"), worse.pick(worse.truths == "negative"))
    decision = judged(TWEETS, fixed)
    assert decision.fixed is not None
    assert decision.fixed.low > 0
    assert not decision.promote
    assert "worse on 'negative'" in decision.reason


def test_a_slice_of_few_rows_decides_nothing() -> None:
    rows = labels(0.5, 0.9, SLICE_ROWS)
    rare, wrong = np.full(100, "rare", dtype=object), np.full(100, "neutral", dtype=object)
    decision = judged(TWEETS, joined(rows, rows, rows, rows_of(rare, rare, wrong)))
    assert "rare" not in decision.slices


def test_live_rows_can_promote_what_is_as_good_on_the_fixed_ones() -> None:
    fixed, live = labels(0.70, 0.70, seed=1), labels(0.6, 0.75, 1_000, seed=2)
    fixed = PairedPredictions(fixed.truths, fixed.champion, fixed.champion)
    decision = judged(TWEETS, fixed, live, people(live, users=20))
    assert decision.promote, decision.reason
    assert "better on the live rows" in decision.reason


def test_live_rows_can_keep_out_what_is_better_on_the_fixed_ones() -> None:
    live = labels(0.75, 0.6, 1_000)
    decision = judged(TWEETS, labels(0.65, 0.72), live, people(live, users=20))
    assert not decision.promote
    assert "worse on the live rows" in decision.reason


def test_rows_chosen_by_the_mistakes_of_the_champion_prove_nothing() -> None:
    fixed, live = labels(0.7, 0.7, seed=1), labels(0.7, 0.7, 3_000)
    only_wrong = live.pick(live.champion.said != live.truths)
    fixed = PairedPredictions(fixed.truths, fixed.champion, fixed.champion)
    decision = judged(TWEETS, fixed, only_wrong, people(only_wrong, users=20))
    assert not decision.promote
    assert decision.live is None
    assert "prove nothing" in decision.reason


def test_a_sample_with_too_many_mistakes_is_weighed_back_to_the_usual_share() -> None:
    fixed, live = labels(0.7, 0.7, seed=1), labels(0.7, 0.7, 6_000)
    kept = (live.champion.said != live.truths) | (np.arange(6_000) % 10 == 0)  # people confirm a tenth of what is right
    biased = live.pick(kept)
    weights = balance(TWEETS, fixed, biased)
    assert weights is not None
    plain = compare(METRICS["macro_recall"], biased, 200, 0)
    weighed = compare(METRICS["macro_recall"], biased, 200, 0, weights)
    assert plain.low > 0.2
    assert abs(weighed.delta) < 0.05


def test_the_errors_of_a_regression_are_weighed_back_too() -> None:
    fixed, live = numbers(0.5, 0.5, seed=1), numbers(0.5, 0.5, 6_000)
    large = np.abs(live.champion.said - live.truths) > 0.5
    biased = live.pick(large | (np.arange(6_000) % 10 == 0))
    weights = balance(HOUSING, fixed, biased)
    assert weights is not None
    rmse = METRICS["rmse"]
    assert compare(rmse, biased, 200, 0, weights).delta < compare(rmse, biased, 200, 0).delta / 2


@pytest.mark.parametrize(("users", "trusted", "promoted"), [(1, False, False), (PEOPLE, False, True), (1, True, True)])
def test_one_untrusted_person_cannot_praise_a_version_into_service(users: int, trusted: bool, promoted: bool) -> None:
    fixed, live = labels(0.7, 0.7, seed=1), labels(0.5, 0.9, 1_000, seed=2)
    fixed = PairedPredictions(fixed.truths, fixed.champion, fixed.champion)
    decision = judged(TWEETS, fixed, live, people(live, users, trusted=trusted))
    assert decision.promote is promoted, decision.reason


def test_few_live_rows_decide_nothing() -> None:
    live = labels(0.9, 0.1, LIVE_ROWS - 1)
    decision = judged(TWEETS, labels(0.65, 0.72), live, people(live, users=20))
    assert decision.promote
    assert "too few" in decision.reason


def test_the_same_seed_gives_the_same_interval() -> None:
    rows, metric = labels(0.65, 0.7), METRICS["macro_recall"]
    assert compare(metric, rows, 100, seed=3) == compare(metric, rows, 100, seed=3)
    assert compare(metric, rows, 100, seed=3) != compare(metric, rows, 100, seed=4)


def chances(skill: float, rows: int = 1_500, seed: int = 0) -> tuple[Truths, Predictions]:
    """Truths, one in ten of them "yes", and probabilities that tell them apart the better the higher the skill."""
    random = np.random.default_rng(seed)
    truths = np.where(np.arange(rows) % 10 == 0, "yes", "no").astype(object)
    scores = 1 / (1 + np.exp(-skill * (truths == "yes") - random.normal(0, 1, rows)))
    said = np.where(scores >= 0.5, "yes", "no").astype(object)
    return truths, Predictions(said, np.column_stack([1 - scores, scores]), ("no", "yes"), "yes")


@pytest.mark.parametrize("metric", ["pr_auc", "roc_auc"])
def test_probabilities_can_decide_where_the_labels_alone_do_not(metric: str) -> None:
    task = replace(TWEETS, metric=metric, positive="yes", margin=0.02)
    truths, champion = chances(2.0)
    _, challenger = chances(3.0, seed=1)
    alike = replace(challenger, said=champion.said)
    assert judged(task, PairedPredictions(truths, champion, alike)).promote
    back = judged(task, PairedPredictions(truths, alike, champion))
    assert not back.promote
    assert metric in back.reason


def test_a_slice_of_a_task_judged_by_probabilities_is_judged_by_its_recall() -> None:
    task = replace(TWEETS, metric="pr_auc", positive="yes", margin=0.02)
    truths, champion = chances(3.0, rows=3_000)
    timid = replace(champion, said=np.full(3_000, "no", dtype=object))
    decision = judged(task, PairedPredictions(truths, champion, timid))
    assert decision.fixed is not None
    assert decision.fixed.delta == 0
    assert decision.slices["yes"].delta == pytest.approx(-np.mean(champion.said[truths == "yes"] == "yes"))
    assert "worse on 'yes'" in decision.reason


def test_champion_and_challenger_may_know_other_labels() -> None:
    task = replace(TWEETS, metric="pr_auc", positive="yes", margin=0.02)
    truths, knowing = chances(3.0)
    ignorant = Predictions(np.full(1_500, "no", dtype=object), np.ones((1_500, 1)), ("no",), "yes")
    decision = judged(task, PairedPredictions(truths, ignorant, knowing))
    assert decision.fixed is not None
    assert decision.fixed.low > 0
