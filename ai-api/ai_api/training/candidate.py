"""A recipe fitted to rows: parameters tuned if the recipe has trials, threshold chosen, ready to serve."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ai_api.datasets import Table
from ai_api.pipeline import build_pipeline, for_serving
from ai_api.task import Recipe, Task

from .fitting import fit
from .request import ProgressReport, no_progress
from .threshold import Threshold, choose_threshold, with_threshold
from .tune import tuned

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class Candidate:
    """The fitted pipeline. `recipe` holds the parameters that the search found, `history` the metric of each trial."""

    pipeline: Pipeline
    recipe: Recipe
    threshold: Threshold | None
    history: list[tuple[str, float, int]]
    fit_seconds: float


def make_candidate(
    task: Task, recipe: Recipe, rows: Table, seed: int, report: ProgressReport = no_progress
) -> Candidate:
    """Tunes, fits and chooses the threshold on `rows` alone."""
    history: list[tuple[str, float, int]] = []
    if recipe.tune:
        recipe, history = tuned(task, recipe, rows, seed, recipe.tune, report)
    pipeline = build_pipeline(task, recipe, seed)
    started = time.monotonic()
    fit(pipeline, task, rows)
    seconds = time.monotonic() - started
    threshold = choose_threshold(task, pipeline, rows, seed)
    serving = for_serving(pipeline)
    if threshold and task.positive:
        serving = with_threshold(serving, task.positive, threshold.value)
    return Candidate(serving, recipe, threshold, history, seconds)
