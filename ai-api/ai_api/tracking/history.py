"""The learning curve of an estimator that is trained in steps, such as boosting rounds or epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ai_api.datasets import Table, frame
from ai_api.evaluation.evaluate import from_scores
from ai_api.evaluation.metrics import METRICS, Predictions
from ai_api.inference import estimator_of
from ai_api.task import Task

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

History = list[tuple[str, float, int]]
"""Name, value, step."""

CURVE_POINTS = 20


def history_of(pipeline: Pipeline, task: Task, held_out: Table) -> History:
    """The estimator's own `history_`; or the task's metric on held-out rows after about CURVE_POINTS of its steps."""
    last = estimator_of(pipeline)
    if hasattr(last, "history_"):
        return [(str(name), float(value), int(step)) for name, value, step in last.history_]
    stages = "staged_predict_proba" if hasattr(last, "staged_predict_proba") else "staged_predict"
    if not hasattr(last, stages) or not len(held_out):
        return []
    every = max(1, int(last.n_iter_) // CURVE_POINTS)
    inputs = pipeline[:-1].transform(frame(held_out.rows, task.row.modalities()))
    metric, weights = METRICS[task.metric], np.ones(len(held_out))
    curve: History = []
    for step, staged in enumerate(getattr(last, stages)(inputs), start=1):
        if step % every == 0:
            output = np.asarray(staged, dtype=np.float64)
            predictions = Predictions(output) if output.ndim == 1 else from_scores(pipeline, output, task.positive)
            curve.append((f"{task.metric}_by_step", metric.score(held_out.truths, predictions, weights), step))
    return curve
