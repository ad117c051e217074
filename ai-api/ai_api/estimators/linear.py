"""Linear models: small and fast to train."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ai_api.task import Kind

from . import estimator

if TYPE_CHECKING:
    from optuna import Trial
    from sklearn.linear_model import LogisticRegression


def space(trial: Trial) -> dict[str, object]:
    """The inverse of the L2 penalty."""
    return {"C": trial.suggest_float("C", 1e-3, 100, log=True)}


@estimator("logreg", kinds=[Kind.CLASSIFICATION], table="scaled", space=space)
def logreg(**params: object) -> LogisticRegression:
    """Every class has the same total weight, because text tasks are evaluated by macro-recall."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(**{"C": 0.5, "class_weight": "balanced", "max_iter": 300, **params})
