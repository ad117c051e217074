"""The difference in the metric between a fusion and each of its members alone."""

from __future__ import annotations

from sklearn.pipeline import Pipeline

from ai_api.datasets import Table
from ai_api.inference import estimator_of
from ai_api.task import Task

from .evaluate import predict_table
from .gate import PairedPredictions, compare
from .metrics import METRICS, Predictions

OVER = "over "
"""Prefix of these metrics. MLflow allows no + in names, so that of a recipe's name is a space."""


def gains(
    task: Task, pipeline: Pipeline, held_out: Table, predictions: Predictions, rounds: int = 1_000, seed: int = 0
) -> dict[str, float]:
    """`over <member>`, `over <member> low` and `over <member> high`: the difference in the deciding metric on the
    held-out rows, positive if the fusion is better, with its paired bootstrap interval. Empty without members.
    """
    differences: dict[str, float] = {}
    for name, member in getattr(estimator_of(pipeline), "members_", {}).items():
        paired = PairedPredictions(held_out.truths, predict_table(member, task, held_out), predictions)
        gain = compare(METRICS[task.metric], paired, rounds, seed)
        name = OVER + name.replace("+", " ")
        differences |= {name: gain.delta, f"{name} low": gain.low, f"{name} high": gain.high}
    return differences
