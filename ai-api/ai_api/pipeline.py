"""Task and recipe make a pipeline, from a frame of raw rows to answers: training and serving cannot disagree."""

from __future__ import annotations

from collections.abc import Mapping

from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from .errors import InvalidParams, UnknownRecipe
from .estimators import build_estimator
from .features import build_text_features
from .task import Modality, Recipe, Task


def build_pipeline(task: Task, recipe: Recipe, seed: int = 0) -> Pipeline:
    """The recipe's pipeline, unfitted. Each text column gets its own features; numbers go in as they are, gaps as NaN.

    UnknownRecipe, InvalidParams or MissingExtra come from here, before any data is read.
    """
    return Pipeline(
        [
            ("features", _features(task, recipe)),
            ("estimator", build_estimator(recipe.estimator, task.kind, recipe.params, seed)),
        ]
    )


def _features(task: Task, recipe: Recipe) -> ColumnTransformer:
    texts, numbers = task.row.columns(Modality.TEXT), task.row.columns(Modality.NUMBER)
    if bool(texts) != bool(recipe.text):
        raise UnknownRecipe(
            f"{recipe.name} does not fit the rows of {task.name}: text features go where rows have a text, only there."
        )
    parts = [(f"text_{name}", build_text_features(recipe.text), name) for name in texts if recipe.text]
    return ColumnTransformer([*parts, *([("numbers", "passthrough", numbers)] if numbers else [])])


def check_params(task: Task, recipe: Recipe, params: Mapping[str, object]) -> tuple[Recipe, int]:
    """The recipe with these parameters, and the seed that stands among them. InvalidParams when it does not fit."""
    seed = params.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise InvalidParams("seed must be a whole number from 0 to 2**32 - 1.")
    chosen = recipe.with_params({name: value for name, value in params.items() if name != "seed"})
    build_pipeline(task, chosen, seed)
    return chosen, seed
