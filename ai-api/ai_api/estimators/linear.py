"""Linear models: small, fast to train, honest about probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ai_api.task import Kind

from . import estimator

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression


@estimator("logreg", kinds=[Kind.CLASSIFICATION])
def logreg(**params: object) -> LogisticRegression:
    """Every class weighs the same, however rare: macro-recall is what text tasks are judged by."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(**{"C": 0.5, "class_weight": "balanced", "max_iter": 300, **params})
