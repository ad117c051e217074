"""Histogram gradient boosting, which accepts gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ai_api.task import Kind

from . import estimator

if TYPE_CHECKING:
    from optuna import Trial
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

# Many small steps, each on half of the columns. No early stopping: it would hold out further rows at random.
STEPS: dict[str, object] = {
    "max_iter": 800,
    "learning_rate": 0.05,
    "max_leaf_nodes": 31,
    "min_samples_leaf": 20,
    "l2_regularization": 1.0,
    "max_features": 0.5,
    "early_stopping": False,
}


def space(trial: Trial) -> dict[str, object]:
    """From few large trees to many small ones."""
    return {
        "max_iter": trial.suggest_int("max_iter", 100, 1_500, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.2, log=True),
        "max_leaf_nodes": trial.suggest_int("max_leaf_nodes", 4, 128, log=True),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 3, 100, log=True),
        "l2_regularization": trial.suggest_float("l2_regularization", 0.01, 30, log=True),
        "max_features": trial.suggest_float("max_features", 0.2, 1),
    }


@estimator("boosting", kinds=[Kind.REGRESSION], space=space)
def boosting_regressor(**params: object) -> HistGradientBoostingRegressor:
    """800 trees of 31 leaves, squared error."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(**{**STEPS, **params})


@estimator("boosting", kinds=[Kind.CLASSIFICATION], space=space)
def boosting_classifier(**params: object) -> HistGradientBoostingClassifier:
    """800 trees of 31 leaves per class, log loss; rare classes have the same total weight as common ones."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(**{**STEPS, "class_weight": "balanced", **params})
