"""Tasks with small generated tables and quick parameters, so that a real training takes a moment."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from ai_api.datasets import Table
from ai_api.images.reference import ImageRef
from ai_api.task import Recipe, Task
from ai_api.tasks import churn, emotion, fashion, find_tasks, fraud, housing, irony, products, tweets

ROWS = 150
BACKBONE = "test_resnet.r160_in1k"
QUICK: Mapping[str, Mapping[str, object]] = {
    "boosting": {"max_iter": 10},
    "forest": {"n_estimators": 5},
    "xgboost": {"n_estimators": 5},
    "lightgbm": {"n_estimators": 5},
    "catboost": {"iterations": 5},
    "bert": {"epochs": 1, "max_tokens": 16},
    "cnn": {"epochs": 1, "channels": 8, "height": 32, "width": 32, "image__height": 32, "image__width": 32},
    "word2vec": {"text__epochs": 1, "text__size": 10},
    "backbone": {"image__name": BACKBONE},
}
"""By the name of an estimator, or of features of texts or images."""


def small_task(name: str) -> Task:
    """A task of the package on some generated rows that pass for real ones, with all its recipes, made quick."""
    task = find_tasks()[name]
    return replace(task, load=lambda _: small_table(name), recipes=tuple(map(quick, task.recipes)))


def quick(recipe: Recipe) -> Recipe:
    """The same recipe, under the same name, with parameters that take a moment; nothing is tuned."""
    parts = (recipe.estimator, recipe.text or "", recipe.image or "")
    params = {name: value for part in parts for name, value in QUICK.get(part, {}).items()}
    members = tuple(map(quick, recipe.members))
    return replace(recipe, params={**recipe.params, **params}, members=members, tune=0, title=recipe.name)


@cache
def small_table(name: str) -> Table:
    generate: Mapping[str, Callable[[], Table]] = {
        "tweets": lambda: tweets.generate_tweets(ROWS),
        "emotion": lambda: emotion.generate_emotion(ROWS),
        "irony": lambda: irony.generate_irony(ROWS),
        "products": _small_products,
        "fashion": lambda: fashion.parse(*fashion.generate_fashion(ROWS)),
        "housing": lambda: housing.generate_housing(2 * ROWS),
        "fraud": lambda: fraud.generate_fraud(4 * ROWS),
        "churn": lambda: churn.generate_churn(2 * ROWS),
    }
    return generate[name]()


def _small_products() -> Table:
    with tempfile.TemporaryDirectory() as folder:
        table = products.generate_products(Path(folder), ROWS)
        for row in table.rows:
            if isinstance(image := row["image"], ImageRef):
                row["image"] = ImageRef.of_bytes(image.read())
        return table


def small_housing(name: str, rows: int = 600) -> Task:
    """Housing under another name, on generated rows that pass for real ones."""
    recipes = (Recipe("boosting", params={"max_iter": 30}), Recipe("forest", params={"n_estimators": 10}))
    table = housing.generate_housing(rows)
    return replace(housing.TASK, name=name, load=lambda _: table, recipes=recipes)


def small_tweets(name: str, rows: int = 600) -> Task:
    """Tweets under another name, on generated rows that pass for real ones."""
    table = tweets.generate_tweets(rows)
    return replace(tweets.TASK, name=name, load=lambda _: table)
