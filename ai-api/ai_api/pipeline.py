"""Task and recipe make a pipeline: from a frame of raw rows to answers, so that training and serving cannot disagree."""

from __future__ import annotations

from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from .errors import UnknownRecipe
from .estimators import build_estimator
from .features import build_text_features
from .task import Modality, Recipe, Task


def build_pipeline(task: Task, recipe: Recipe, seed: int = 0) -> Pipeline:
    """The recipe's pipeline, unfitted. Each text column gets its own features; numbers go in as they are, gaps as NaN.

    UnknownRecipe, InvalidParams or MissingExtra come from here, before any data is read.
    """
    return Pipeline([("features", _features(task, recipe)), ("estimator", build_estimator(recipe.estimator, task.kind, recipe.params, seed))])


def _features(task: Task, recipe: Recipe) -> ColumnTransformer:
    texts, numbers = task.row.columns(Modality.TEXT), task.row.columns(Modality.NUMBER)
    if bool(texts) != bool(recipe.text):
        raise UnknownRecipe(f"{recipe.name} does not fit the rows of {task.name}: name text features where rows have a text, and only there.")
    parts = [(f"text_{name}", build_text_features(recipe.text), name) for name in texts if recipe.text]
    return ColumnTransformer([*parts, *([("numbers", "passthrough", numbers)] if numbers else [])])
