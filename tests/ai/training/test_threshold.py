"""A threshold is chosen by the costs of errors, on out-of-fold probabilities, and is part of the version."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from ai_api.datasets import FloatArray, Table, split
from ai_api.inference import predict, threshold_of
from ai_api.pipeline import build_pipeline
from ai_api.task import Costs
from ai_api.tasks.fraud import FRAUD
from ai_api.training.candidate import make_candidate
from ai_api.training.threshold import LEAST_ROWS, cheapest, choose_threshold, cost_per_1000
from tests.ai.training.frauds import RECIPE, TABLE, small_frauds

pytestmark = pytest.mark.training

FRAUDS = small_frauds()
COSTLY_MISS = Costs(missed=100, false_alarm=1, unit="euros")


def cost_at(costs: Costs, wanted: NDArray[np.bool_], scores: FloatArray, weights: FloatArray, at: float) -> float:
    alarm = scores >= at
    return float(costs.missed * weights[wanted & ~alarm].sum() + costs.false_alarm * weights[~wanted & alarm].sum())


@pytest.mark.parametrize("costs", [Costs(1, 1, "errors"), COSTLY_MISS, Costs(1, 100, "errors")])
def test_no_other_threshold_is_cheaper(costs: Costs) -> None:
    random = np.random.default_rng(0)
    wanted = random.random(200) < 0.2
    scores = np.round(np.clip(wanted * 0.3 + random.random(200) * 0.8, 0, 1), 2).astype(np.float64)
    weights = np.where(wanted, 1.0, 5.0)
    found = cost_at(costs, wanted, scores, weights, cheapest(costs, wanted, scores, weights))
    assert found <= min(cost_at(costs, wanted, scores, weights, at) for at in np.linspace(0, 1.01, 500))


def test_if_false_alarms_cost_too_much_nothing_is_predicted_positive() -> None:
    wanted, scores = np.array([True, False, False]), np.array([0.9, 1.0, 1.0])
    assert cheapest(Costs(1, 100, "errors"), wanted, scores, np.ones(3)) > 1


def test_a_higher_cost_of_a_miss_lowers_the_threshold() -> None:
    rows = split(TABLE).train
    pipeline = build_pipeline(FRAUDS, RECIPE)
    dear = choose_threshold(FRAUDS, pipeline, rows, seed=0)
    cheap = choose_threshold(replace(FRAUDS, costs=Costs(1, 1, "euros")), pipeline, rows, seed=0)
    assert dear is not None
    assert cheap is not None
    assert 0 < dear.value < cheap.value < 1
    assert dear.cost <= dear.cost_at_half
    assert choose_threshold(FRAUDS, pipeline, rows, seed=0) == dear


def test_the_threshold_is_chosen_under_the_real_shares_of_the_labels() -> None:
    rows = split(TABLE).train
    weighted = choose_threshold(FRAUDS, build_pipeline(FRAUDS, RECIPE), rows, seed=0)
    unweighted = choose_threshold(FRAUDS, build_pipeline(FRAUDS, RECIPE), replace(rows, weights={}), seed=0)
    assert weighted is not None
    assert unweighted is not None
    assert weighted.value > unweighted.value, "real rows give twenty times as many false alarms"


def test_a_cost_is_that_of_a_thousand_real_rows() -> None:
    truths = np.array([FRAUD, "legitimate", "legitimate"], dtype=object)
    table = Table([{"x": n} for n in range(3)], truths, weights={"legitimate": 4.5})
    nothing, everything = np.full(3, "legitimate", dtype=object), np.full(3, FRAUD, dtype=object)
    assert cost_per_1000(FRAUDS, table, nothing) == pytest.approx(1_000 * 100 / 10)
    assert cost_per_1000(FRAUDS, table, everything) == pytest.approx(1_000 * 9 / 10)


def test_without_costs_or_with_too_few_rows_there_is_no_threshold() -> None:
    rows, pipeline = split(TABLE).train, build_pipeline(FRAUDS, RECIPE)
    assert choose_threshold(replace(FRAUDS, costs=None), pipeline, rows, seed=0) is None
    found = np.flatnonzero(rows.truths == FRAUD)[LEAST_ROWS - 1 :]
    few = rows.pick(place not in found for place in range(len(rows)))
    assert choose_threshold(FRAUDS, pipeline, few, seed=0) is None
    candidate = make_candidate(FRAUDS, RECIPE, few, seed=0)
    assert candidate.threshold is None
    assert threshold_of(candidate.pipeline) is None


@pytest.mark.parametrize("resample", [None, "smote", "undersample"])
def test_a_version_predicts_by_its_threshold_and_returns_the_probability_of_the_predicted_label(
    resample: str | None,
) -> None:
    parts = split(TABLE)
    candidate = make_candidate(FRAUDS, replace(RECIPE, resample=resample), parts.train, seed=0)
    assert candidate.threshold is not None
    assert threshold_of(candidate.pipeline) == (FRAUD, candidate.threshold.value)
    assert [name for name, _ in candidate.pipeline.steps] == ["features", "estimator"]
    columns, labels = FRAUDS.row.modalities(), ("fraud", "legitimate")
    predictions = predict(candidate.pipeline, columns, labels, parts.held_out.rows)
    for found in predictions:
        probabilities = found["probabilities"]
        assert isinstance(probabilities, dict)
        assert (found["label"] == FRAUD) == (probabilities[FRAUD] >= candidate.threshold.value)
        assert found["score"] == probabilities[found["label"]]
    assert {found["label"] for found in predictions} == {"fraud", "legitimate"}
