"""The decision threshold of a binary task: the probability from which the positive label is predicted, by costs.

It minimises the cost of errors on out-of-fold probabilities of the training rows, weighted by how many real rows each
row stands for (cost-sensitive learning: Elkan, IJCAI 2001). Held-out rows are not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import FixedThresholdClassifier

from ai_api.datasets import FloatArray, Table, Truths
from ai_api.evaluation.evaluate import predict_table, real_weights
from ai_api.task import Costs, Task

from .fitting import fit
from .folds import RowMask, in_folds

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

FOLDS = 3
LEAST_ROWS = 10
"""Fewest positive rows for which a threshold is chosen."""
DEFAULT = 0.5


@dataclass(frozen=True)
class Threshold:
    """The chosen threshold, and the cost of 1,000 real rows at it and at 0.5, estimated out of fold."""

    value: float
    cost: float
    cost_at_half: float


def choose_threshold(task: Task, pipeline: Pipeline, rows: Table, seed: int) -> Threshold | None:
    """The threshold with the lowest cost for this pipeline, which need not be fitted, on its training rows.

    None for a task without `costs` and `positive`, and with fewer than LEAST_ROWS positive rows.
    """
    if task.costs is None or task.positive is None or np.sum(rows.truths == task.positive) < LEAST_ROWS:
        return None
    scores = np.zeros(len(rows))
    for trained, tested in in_folds(task, rows, FOLDS, seed):
        fitted = fit(clone(pipeline), task, rows.pick(trained))
        scores[tested] = predict_table(fitted, task, rows.pick(tested)).of_positive()[1]
    is_positive = np.asarray(rows.truths == task.positive, dtype=np.bool_)
    value = cheapest(task.costs, is_positive, scores, _weights(rows))
    costs = (cost_per_1000(task, rows, _predicted(task, scores, at)) for at in (value, DEFAULT))
    return Threshold(value, *costs)


def cheapest(costs: Costs, is_positive: RowMask, scores: FloatArray, weights: FloatArray) -> float:
    """The threshold with the lowest weighted cost, midway between two scores; above 1 if nothing is to be positive."""
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum((weights * is_positive)[order])
    alarms = np.cumsum((weights * ~is_positive)[order])
    ends = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
    distinct = ranked[ends]
    above_all = np.nextafter(max(distinct[0], 1.0), 2)
    values = np.append(above_all, (distinct + np.append(distinct[1:], 0.0)) / 2)
    cost = costs.missed * (hits[-1] - np.append(0, hits[ends])) + costs.false_alarm * np.append(0, alarms[ends])
    return float(values[np.argmin(cost)])


def cost_per_1000(task: Task, rows: Table, predicted: Truths) -> float:
    """The cost of errors per 1,000 real rows, in the unit of the task's costs, for these predictions."""
    if task.costs is None:
        raise ValueError(f"{task.name} has no costs.")
    weights, actual, alarm = _weights(rows), rows.truths == task.positive, predicted == task.positive
    missed, false = weights[actual & ~alarm].sum(), weights[~actual & alarm].sum()
    cost = task.costs.missed * missed + task.costs.false_alarm * false
    return float(1_000 * cost / weights.sum())


def costs_of(task: Task, rows: Table, predicted: Truths, scores: FloatArray, threshold: float) -> dict[str, float]:
    """Metrics for the record: the threshold, and the cost of 1,000 real rows at it and at 0.5."""
    return {
        "threshold": threshold,
        "cost_per_1000": cost_per_1000(task, rows, predicted),
        "cost_per_1000_at_half": cost_per_1000(task, rows, _predicted(task, scores, DEFAULT)),
    }


def with_threshold(pipeline: Pipeline, positive: str, value: float) -> Pipeline:
    """The same fitted pipeline with a last step that predicts `positive` from this probability on."""
    from sklearn.pipeline import Pipeline

    name, last = pipeline.steps[-1]
    deciding = FixedThresholdClassifier(last, threshold=value, pos_label=positive, response_method="predict_proba")
    deciding.estimator_ = last
    return Pipeline([*pipeline.steps[:-1], (name, deciding)])


def _weights(rows: Table) -> FloatArray:
    real = real_weights(rows)
    return np.ones(len(rows)) if real is None else real


def _predicted(task: Task, scores: FloatArray, threshold: float) -> Truths:
    return np.where(scores >= threshold, task.positive or "", "").astype(object)
