"""XGBoost: boosted trees with second-order steps (Chen and Guestrin, KDD 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions

from ai_api.datasets import FloatArray
from ai_api.task import Kind

from . import estimator
from .boosters import Booster, BoosterClassifier, BoosterRegressor, Inputs, balanced, probabilities, threads

if TYPE_CHECKING:
    import xgboost
    from optuna import Trial


def space(trial: Trial) -> dict[str, object]:
    """From few deep trees to many shallow ones."""
    return {
        "n_estimators": trial.suggest_int("n_estimators", 100, 1_500, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.2, log=True),
        "max_depth": trial.suggest_int("max_depth", 2, 10),
        "min_child_weight": trial.suggest_float("min_child_weight", 0.5, 50, log=True),
        "subsample": trial.suggest_float("subsample", 0.5, 1),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.3, 1),
        "reg_lambda": trial.suggest_float("reg_lambda", 0.01, 30, log=True),
    }


@dataclass(eq=False, repr=False)
class XGBoost(Booster["xgboost.Booster"]):
    """The parameters are XGBoost's. `categorical_features`: places of the columns that hold codes of categories."""

    n_estimators: int = 600
    learning_rate: float = 0.05
    max_depth: int = 6
    min_child_weight: float = 3
    subsample: float = 0.8
    colsample_bytree: float = 0.6
    reg_lambda: float = 2
    reg_alpha: float = 0
    gamma: float = 0
    max_bin: int = 256
    categorical_features: list[int] | None = None
    random_state: int = 0

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, 1, closed="right")],
        "max_depth": [Interval(Integral, 1, 32, closed="both")],
        "min_child_weight": [Interval(Real, 0, None, closed="left")],
        "subsample": [Interval(Real, 0, 1, closed="right")],
        "colsample_bytree": [Interval(Real, 0, 1, closed="right")],
        "reg_lambda": [Interval(Real, 0, None, closed="left")],
        "reg_alpha": [Interval(Real, 0, None, closed="left")],
        "gamma": [Interval(Real, 0, None, closed="left")],
        "max_bin": [Interval(Integral, 2, 65_535, closed="both")],
        "categorical_features": [list, tuple, None],
        "random_state": [Interval(Integral, 0, 2**32 - 1, closed="both")],
    }

    def _train(self, inputs: Inputs, targets: FloatArray, labels: int, weights: FloatArray | None) -> None:
        import xgboost

        places = set(self.categorical_features or ())
        kinds = ["c" if place in places else "q" for place in range(inputs.shape[1])]
        rows = xgboost.QuantileDMatrix(
            inputs,
            targets,
            weight=weights,
            max_bin=self.max_bin,
            feature_types=kinds if places else None,
            enable_categorical=bool(places),
            nthread=threads(),
        )
        aims = {0: "reg:squarederror", 2: "binary:logistic"}
        params = self.get_params() | {
            "objective": aims.get(labels, "multi:softprob"),
            "tree_method": "hist",
            "seed": self.random_state % 2**31,
            "nthread": threads(),
            "verbosity": 0,
        }
        if labels > 2:
            params["num_class"] = labels
        ours = ("n_estimators", "categorical_features", "class_weight", "random_state")
        params = {name: value for name, value in params.items() if name not in ours}
        trained = xgboost.train(params, rows, num_boost_round=self.n_estimators)
        self.model_ = bytes(trained.save_raw("ubj"))
        self.n_iter_ = self.n_estimators

    def _open(self) -> xgboost.Booster:
        import xgboost

        booster = xgboost.Booster(model_file=bytearray(self.model_))
        booster.set_param({"nthread": 1})
        return booster

    def _predictions(self, inputs: Inputs) -> FloatArray:
        predicted: FloatArray = self.booster.inplace_predict(inputs, validate_features=False)
        return predicted

    def _margins(self, inputs: Inputs) -> Iterator[FloatArray]:
        margins = None
        for tree in range(self.n_iter_):
            margins = self.booster.inplace_predict(
                inputs,
                iteration_range=(tree, tree + 1),
                predict_type="margin",
                base_margin=margins,
                validate_features=False,
            )
            yield margins


class XGBoostRegressor(BoosterRegressor["xgboost.Booster"], XGBoost):
    def _stages(self, inputs: Inputs) -> Iterator[FloatArray]:
        yield from self._margins(inputs)


@dataclass(eq=False, repr=False)
class XGBoostClassifier(BoosterClassifier["xgboost.Booster"], XGBoost):
    """`class_weight`: "balanced", or None where every row weighs the same."""

    class_weight: str | None = "balanced"

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        **XGBoost._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), None],
    }

    def _weights(self, places: NDArray[np.intp]) -> FloatArray | None:
        return balanced(places) if self.class_weight else None

    def _stages(self, inputs: Inputs) -> Iterator[FloatArray]:
        yield from map(probabilities, self._margins(inputs))


@estimator("xgboost", kinds=[Kind.REGRESSION], space=space)
def xgboost_regressor(**params: object) -> XGBoostRegressor:
    """600 trees of depth 6 on samples of rows and columns, squared error."""
    import xgboost  # noqa: F401

    return XGBoostRegressor(**params)  # type: ignore[arg-type]


@estimator("xgboost", kinds=[Kind.CLASSIFICATION], space=space)
def xgboost_classifier(**params: object) -> XGBoostClassifier:
    """600 trees of depth 6 per label, log loss; rare labels have the same total weight as common ones."""
    import xgboost  # noqa: F401

    return XGBoostClassifier(**params)  # type: ignore[arg-type]
