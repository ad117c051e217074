"""Tasks with small generated tables, so that a real training takes a moment."""

from __future__ import annotations

from dataclasses import replace

from ai_api.datasets import Table
from ai_api.task import Recipe, Task
from ai_api.tasks.housing import TASK as HOUSING
from ai_api.tasks.housing import generate_housing
from ai_api.tasks.tweets import TASK as TWEETS
from ai_api.tasks.tweets import generate_tweets


def small_housing(name: str, rows: int = 600) -> Task:
    """Housing under another name, on generated rows that pass for real ones."""
    recipes = (Recipe("boosting", params={"max_iter": 30}), Recipe("forest", params={"n_estimators": 10}))
    table = generate_housing(rows)
    return replace(HOUSING, name=name, load=lambda _: table, recipes=recipes)


def small_tweets(name: str, rows: int = 600) -> Task:
    """Tweets under another name, on generated rows that pass for real ones."""
    table: Table = generate_tweets(rows)
    return replace(TWEETS, name=name, load=lambda _: table)
