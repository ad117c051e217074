"""Random forests: they need no scaling, accept gaps and have few parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ai_api.task import Kind

from . import estimator

if TYPE_CHECKING:
    from optuna import Trial
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

TREES: dict[str, object] = {"n_estimators": 200, "min_samples_leaf": 2, "max_features": 0.5}


def space(trial: Trial) -> dict[str, object]:
    """Leaf size, and the shares of columns and rows per tree. More than 200 trees take longer and gain little."""
    return {
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 30, log=True),
        "max_features": trial.suggest_float("max_features", 0.05, 1, log=True),
        "max_samples": trial.suggest_float("max_samples", 0.3, 1),
    }


@estimator("forest", kinds=[Kind.REGRESSION], space=space)
def forest_regressor(**params: object) -> RandomForestRegressor:
    """The mean of 200 trees that each see half of the columns at a split."""
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(**{**TREES, **params})


@estimator("forest", kinds=[Kind.CLASSIFICATION], space=space)
def forest_classifier(**params: object) -> RandomForestClassifier:
    """The vote of 200 trees; rare classes have the same total weight as common ones."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(**{**TREES, "class_weight": "balanced_subsample", **params})
