"""From which probability on a yes-or-no task says yes, chosen by what wrong answers cost.

The probabilities are those of rows that a fold did not learn from, all of the training part; rows weigh as many real
rows as they stand for. So the threshold neither flatters itself nor sees a held-out row (Elkan, IJCAI 2001).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import FixedThresholdClassifier

from ai_api.datasets import Table, Truths
from ai_api.evaluation.evaluate import answer, real_weights
from ai_api.evaluation.metrics import FloatArray
from ai_api.task import Costs, Task

from .fitting import fit
from .folds import RowMask, in_folds

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

FOLDS = 3
LEAST_ROWS = 10
"""Rows of the label that is looked for, without which no threshold is chosen."""
USUAL = 0.5


@dataclass(frozen=True)
class Threshold:
    """What was chosen, and what 1,000 real rows cost at it and at 0.5, by the rows that chose it."""

    value: float
    cost: float
    cost_at_half: float


def choose_threshold(task: Task, pipeline: Pipeline, rows: Table, seed: int) -> Threshold | None:
    """The cheapest threshold for this pipeline, fitted or not, on the rows that it learns from.

    None for a task without `costs` and `positive`, and with too few rows to tell.
    """
    if task.costs is None or task.positive is None or np.sum(rows.truths == task.positive) < LEAST_ROWS:
        return None
    scores = np.zeros(len(rows))
    for learns, answers in in_folds(task, rows, FOLDS, seed):
        fitted = fit(clone(pipeline), task, rows.pick(learns))
        scores[answers] = answer(fitted, task, rows.pick(answers)).of_positive()[1]
    wanted = np.asarray(rows.truths == task.positive, dtype=np.bool_)
    value = cheapest(task.costs, wanted, scores, _weights(rows))
    costs = (cost_per_1000(task, rows, _said(task, scores, at)) for at in (value, USUAL))
    return Threshold(value, *costs)


def cheapest(costs: Costs, wanted: RowMask, scores: FloatArray, weights: FloatArray) -> float:
    """The threshold at which wrong answers cost least, half-way between two scores; above 1 where none should pass."""
    order = np.argsort(-scores, kind="stable")
    falling, hits = scores[order], np.cumsum((weights * wanted)[order])
    alarms = np.cumsum((weights * ~wanted)[order])
    ends = np.flatnonzero(np.append(np.diff(falling) != 0, True))
    tiers = falling[ends]
    never = np.nextafter(max(tiers[0], 1.0), 2)
    values = np.append(never, (tiers + np.append(tiers[1:], 0.0)) / 2)
    spent = costs.missed * (hits[-1] - np.append(0, hits[ends])) + costs.false_alarm * np.append(0, alarms[ends])
    return float(values[np.argmin(spent)])


def cost_per_1000(task: Task, rows: Table, said: Truths) -> float:
    """What 1,000 real rows cost, in the unit of the task's costs, when these are answered so."""
    if task.costs is None:
        raise ValueError(f"{task.name} has no costs.")
    weights, wanted, told = _weights(rows), rows.truths == task.positive, said == task.positive
    spent = task.costs.missed * weights[wanted & ~told].sum() + task.costs.false_alarm * weights[~wanted & told].sum()
    return float(1_000 * spent / weights.sum())


def costs_of(task: Task, rows: Table, said: Truths, scores: FloatArray, threshold: float) -> dict[str, float]:
    """For the record: the threshold, and the cost of 1,000 real rows at it and at 0.5."""
    return {
        "threshold": threshold,
        "cost_per_1000": cost_per_1000(task, rows, said),
        "cost_per_1000_at_half": cost_per_1000(task, rows, _said(task, scores, USUAL)),
    }


def with_threshold(pipeline: Pipeline, positive: str, value: float) -> Pipeline:
    """The fitted pipeline, not fitted again, whose last step answers `positive` from this probability on."""
    from sklearn.pipeline import Pipeline

    name, last = pipeline.steps[-1]
    deciding = FixedThresholdClassifier(last, threshold=value, pos_label=positive, response_method="predict_proba")
    deciding.estimator_ = last
    return Pipeline([*pipeline.steps[:-1], (name, deciding)])


def _weights(rows: Table) -> FloatArray:
    real = real_weights(rows)
    return np.ones(len(rows)) if real is None else real


def _said(task: Task, scores: FloatArray, threshold: float) -> Truths:
    return np.where(scores >= threshold, task.positive or "", "").astype(object)
