"""CatBoost: symmetric trees that take categories as they are (Prokhorenkova et al., NeurIPS 2018)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions

from ai_api.datasets import FloatArray
from ai_api.task import Kind

from . import estimator
from .boosters import Booster, BoosterClassifier, BoosterRegressor, Inputs, balanced, threads

if TYPE_CHECKING:
    import catboost
    from optuna import Trial


def space(trial: Trial) -> dict[str, object]:
    """Depth, learning rate, number of trees and regularisation; the other parameters of CatBoost matter less."""
    return {
        "iterations": trial.suggest_int("iterations", 100, 1_500, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.2, log=True),
        "depth": trial.suggest_int("depth", 2, 8),
        "l2_leaf_reg": trial.suggest_float("l2_leaf_reg", 0.5, 30, log=True),
        "random_strength": trial.suggest_float("random_strength", 0.1, 10, log=True),
        "bagging_temperature": trial.suggest_float("bagging_temperature", 0, 2),
    }


@dataclass(eq=False, repr=False)
class CatBoost(Booster["catboost.CatBoost"]):
    """The parameters are CatBoost's. A column that holds strings is a category."""

    iterations: int = 800
    learning_rate: float = 0.05
    depth: int = 6
    l2_leaf_reg: float = 3
    random_strength: float = 1
    bagging_temperature: float = 1
    border_count: int = 254
    one_hot_max_size: int = 2
    random_state: int = 0

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        "iterations": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, 1, closed="right")],
        "depth": [Interval(Integral, 1, 16, closed="both")],
        "l2_leaf_reg": [Interval(Real, 0, None, closed="neither")],
        "random_strength": [Interval(Real, 0, None, closed="left")],
        "bagging_temperature": [Interval(Real, 0, None, closed="left")],
        "border_count": [Interval(Integral, 1, 65_535, closed="both")],
        "one_hot_max_size": [Interval(Integral, 2, 255, closed="both")],
        "random_state": [Interval(Integral, 0, 2**32 - 1, closed="both")],
    }

    def _train(self, inputs: Inputs, targets: FloatArray, labels: int, weights: FloatArray | None) -> None:
        import catboost

        self.categories_ = _categories(inputs)
        rows = catboost.Pool(inputs, targets, cat_features=self.categories_ or None, weight=weights)
        trained = catboost.CatBoost(
            {
                "loss_function": {0: "RMSE", 2: "Logloss"}.get(labels, "MultiClass"),
                "iterations": self.iterations,
                "learning_rate": self.learning_rate,
                "depth": self.depth,
                "l2_leaf_reg": self.l2_leaf_reg,
                "random_strength": self.random_strength,
                "bootstrap_type": "Bayesian",
                "bagging_temperature": self.bagging_temperature,
                "border_count": self.border_count,
                "one_hot_max_size": self.one_hot_max_size,
                "random_seed": self.random_state,
                "thread_count": threads(),
                "allow_writing_files": False,
                "logging_level": "Silent",
            }
        ).fit(rows)
        self.model_ = _bytes(trained)
        self.n_iter_ = int(trained.tree_count_)
        self.kind_ = "RawFormulaVal" if labels == 0 else "Probability"

    def _open(self) -> catboost.CatBoost:
        import catboost

        return catboost.CatBoost().load_model(blob=self.model_)

    def _predictions(self, inputs: Inputs) -> FloatArray:
        predicted: FloatArray = self.booster.predict(self._pool(inputs), prediction_type=self.kind_, thread_count=1)
        return predicted

    def _stages(self, inputs: Inputs) -> Iterator[FloatArray]:
        yield from self.booster.staged_predict(self._pool(inputs), prediction_type=self.kind_, thread_count=1)

    def _pool(self, inputs: Inputs) -> catboost.Pool:
        import catboost

        return catboost.Pool(inputs, cat_features=self.categories_ or None, thread_count=1)


def _categories(inputs: Inputs) -> list[int]:
    if inputs.dtype.kind != "O":
        return []
    return [place for place, value in enumerate(np.asarray(inputs)[0]) if isinstance(value, str)]


def _bytes(trained: catboost.CatBoost) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.cbm"
        trained.save_model(str(path))
        return path.read_bytes()


class CatBoostRegressor(BoosterRegressor["catboost.CatBoost"], CatBoost):
    pass


@dataclass(eq=False, repr=False)
class CatBoostClassifier(BoosterClassifier["catboost.CatBoost"], CatBoost):
    """`class_weight`: "balanced", or None where every row weighs the same."""

    class_weight: str | None = "balanced"

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        **CatBoost._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), None],
    }

    def _weights(self, places: NDArray[np.intp]) -> FloatArray | None:
        return balanced(places) if self.class_weight else None


@estimator("catboost", kinds=[Kind.REGRESSION], table="native", space=space)
def catboost_regressor(**params: object) -> CatBoostRegressor:
    """800 symmetric trees of depth 6, squared error."""
    import catboost  # noqa: F401

    return CatBoostRegressor(**params)  # type: ignore[arg-type]


@estimator("catboost", kinds=[Kind.CLASSIFICATION], table="native", space=space)
def catboost_classifier(**params: object) -> CatBoostClassifier:
    """800 symmetric trees of depth 6, log loss; rare labels have the same total weight as common ones."""
    import catboost  # noqa: F401

    return CatBoostClassifier(**params)  # type: ignore[arg-type]
