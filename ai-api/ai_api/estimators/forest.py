"""Random forests: no scaling, gaps allowed, little to set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ai_api.task import Kind

from . import estimator

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

TREES: dict[str, object] = {"n_estimators": 200, "min_samples_leaf": 2, "max_features": 0.5}


@estimator("forest", kinds=[Kind.REGRESSION])
def forest_regressor(**params: object) -> RandomForestRegressor:
    """The mean of 200 trees that each see half of the columns at a split."""
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(**{**TREES, **params})


@estimator("forest", kinds=[Kind.CLASSIFICATION])
def forest_classifier(**params: object) -> RandomForestClassifier:
    """The vote of 200 trees, rare classes weighing as much as common ones."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(**{**TREES, "class_weight": "balanced_subsample", **params})
