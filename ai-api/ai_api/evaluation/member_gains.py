"""What a fusion gains over each of its members alone."""

from __future__ import annotations

from sklearn.pipeline import Pipeline

from ai_api.datasets import Table
from ai_api.inference import estimator_of
from ai_api.task import Task

from .evaluate import answer
from .gate import PairedPredictions, compare
from .metrics import METRICS, Predictions

OVER = "over "
"""Begins the names of these figures. The + of a recipe's name is a space in them, as MLflow takes no +."""


def gains(
    task: Task, pipeline: Pipeline, held_out: Table, answers: Predictions, rounds: int = 1_000, seed: int = 0
) -> dict[str, float]:
    """`over <member>` with ` low` and ` high`: the difference of the deciding metric, more is better, with the interval
    of a paired bootstrap over the rows that both answered. Nothing for a recipe without members.
    """
    found: dict[str, float] = {}
    for name, member in getattr(estimator_of(pipeline), "members_", {}).items():
        both = PairedPredictions(held_out.truths, answer(member, task, held_out), answers)
        gain = compare(METRICS[task.metric], both, rounds, seed)
        name = OVER + name.replace("+", " ")
        found |= {name: gain.delta, f"{name} low": gain.low, f"{name} high": gain.high}
    return found
