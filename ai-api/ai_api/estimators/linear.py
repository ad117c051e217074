"""Linear models: small, fast to train, honest about probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ai_api.task import Kind

from . import estimator

if TYPE_CHECKING:
    from optuna import Trial
    from sklearn.linear_model import LogisticRegression


def space(trial: Trial) -> dict[str, object]:
    """How freely the weights may grow."""
    return {"C": trial.suggest_float("C", 1e-3, 100, log=True)}


@estimator("logreg", kinds=[Kind.CLASSIFICATION], table="scaled", space=space)
def logreg(**params: object) -> LogisticRegression:
    """Every class weighs the same, however rare: macro-recall is what text tasks are judged by."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(**{"C": 0.5, "class_weight": "balanced", "max_iter": 300, **params})
