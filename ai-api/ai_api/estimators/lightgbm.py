"""LightGBM: boosted trees that grow leaf by leaf (Ke et al., NIPS 2017)."""

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
    import lightgbm
    from optuna import Trial


def space(trial: Trial) -> dict[str, object]:
    """From few large trees to many small ones."""
    return {
        "n_estimators": trial.suggest_int("n_estimators", 100, 1_500, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.2, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 4, 128, log=True),
        "min_child_samples": trial.suggest_int("min_child_samples", 3, 100, log=True),
        "subsample": trial.suggest_float("subsample", 0.5, 1),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.3, 1),
        "reg_lambda": trial.suggest_float("reg_lambda", 0.01, 30, log=True),
    }


@dataclass(eq=False, repr=False)
class LightGBM(Booster["lightgbm.Booster"]):
    """The parameters are LightGBM's. `categorical_features`: places of the columns that hold codes of categories."""

    n_estimators: int = 600
    learning_rate: float = 0.05
    num_leaves: int = 31
    max_depth: int = -1
    min_child_samples: int = 20
    subsample: float = 0.8
    colsample_bytree: float = 0.6
    reg_lambda: float = 1
    reg_alpha: float = 0
    extra_trees: bool = False
    max_bin: int = 255
    categorical_features: list[int] | None = None
    random_state: int = 0

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, 1, closed="right")],
        "num_leaves": [Interval(Integral, 2, 131_072, closed="both")],
        "max_depth": [Interval(Integral, -1, 64, closed="both")],
        "min_child_samples": [Interval(Integral, 0, None, closed="left")],
        "subsample": [Interval(Real, 0, 1, closed="right")],
        "colsample_bytree": [Interval(Real, 0, 1, closed="right")],
        "reg_lambda": [Interval(Real, 0, None, closed="left")],
        "reg_alpha": [Interval(Real, 0, None, closed="left")],
        "extra_trees": ["boolean"],
        "max_bin": [Interval(Integral, 2, 65_535, closed="both")],
        "categorical_features": [list, tuple, None],
        "random_state": [Interval(Integral, 0, 2**32 - 1, closed="both")],
    }

    def _train(self, inputs: Inputs, targets: FloatArray, labels: int, weights: FloatArray | None) -> None:
        import lightgbm

        params = {
            "objective": {0: "regression", 2: "binary"}.get(labels, "multiclass"),
            "num_class": labels if labels > 2 else 1,
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "max_depth": self.max_depth,
            "min_data_in_leaf": self.min_child_samples,
            "bagging_fraction": self.subsample,
            "bagging_freq": 1,
            "feature_fraction": self.colsample_bytree,
            "lambda_l2": self.reg_lambda,
            "lambda_l1": self.reg_alpha,
            "extra_trees": self.extra_trees,
            "max_bin": self.max_bin,
            "seed": self.random_state % 2**31,
            "num_threads": threads(),
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
            "scale_pos_weight": self._of_second(targets) if labels == 2 else 1.0,
        }
        rows = lightgbm.Dataset(
            inputs, targets, weight=weights, categorical_feature=list(self.categorical_features or ()), params=params
        )
        trained = lightgbm.train(params, rows, num_boost_round=self.n_estimators)
        self.model_ = trained.model_to_string().encode()
        self.n_iter_ = trained.current_iteration()

    def _of_second(self, targets: FloatArray) -> float:  # noqa: ARG002
        """The weight of a row of the second of two labels, which is the positive one for LightGBM."""
        return 1.0

    def _open(self) -> lightgbm.Booster:
        import lightgbm

        booster = lightgbm.Booster(model_str=self.model_.decode())
        booster.params.update(num_threads=1, verbosity=-1)
        return booster

    def _predictions(self, inputs: Inputs) -> FloatArray:
        return np.asarray(self.booster.predict(inputs))

    def _margins(self, inputs: Inputs) -> Iterator[FloatArray]:
        margins = np.zeros(())
        for tree in range(self.n_iter_):
            margins = margins + np.asarray(self.booster.predict(inputs, tree, 1, raw_score=True))
            yield margins


class LightGBMRegressor(BoosterRegressor["lightgbm.Booster"], LightGBM):
    def _stages(self, inputs: Inputs) -> Iterator[FloatArray]:
        yield from self._margins(inputs)


@dataclass(eq=False, repr=False)
class LightGBMClassifier(BoosterClassifier["lightgbm.Booster"], LightGBM):
    """`scale_pos_weight`: the weight of a row of the rarer of two labels; a row of the other has the weight 1.

    "balanced" computes it from the training rows, so that all labels have the same total weight. For more than two
    labels only "balanced" and 1 are accepted.
    """

    scale_pos_weight: float | str = "balanced"

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        **LightGBM._parameter_constraints,
        "scale_pos_weight": [StrOptions({"balanced"}), Interval(Real, 0, None, closed="neither")],
    }

    def _weights(self, places: NDArray[np.intp]) -> FloatArray | None:
        if len(self.classes_) == 2 or self.scale_pos_weight == 1:
            return None
        if self.scale_pos_weight != "balanced":
            raise ValueError("scale_pos_weight is for two labels.")
        return balanced(places)

    def _of_second(self, targets: FloatArray) -> float:
        second = float(targets.sum())
        first = len(targets) - second
        if self.scale_pos_weight == "balanced":
            return first / second
        weight = float(self.scale_pos_weight)
        return weight if second <= first else 1 / weight

    def _stages(self, inputs: Inputs) -> Iterator[FloatArray]:
        yield from map(probabilities, self._margins(inputs))


@estimator("lightgbm", kinds=[Kind.REGRESSION], space=space)
def lightgbm_regressor(**params: object) -> LightGBMRegressor:
    """600 trees of 31 leaves on samples of rows and columns, squared error."""
    import lightgbm  # noqa: F401

    return LightGBMRegressor(**params)  # type: ignore[arg-type]


@estimator("lightgbm", kinds=[Kind.CLASSIFICATION], space=space)
def lightgbm_classifier(**params: object) -> LightGBMClassifier:
    """600 trees of 31 leaves per label, log loss; rare labels have the same total weight as common ones."""
    import lightgbm  # noqa: F401

    return LightGBMClassifier(**params)  # type: ignore[arg-type]
