"""Small pipelines, fitted and logged to a registry as a training logs them."""

from __future__ import annotations

from functools import cache

from sklearn.pipeline import Pipeline

from ai_api.datasets import Table, frame, split
from ai_api.inference import labels_of
from ai_api.pipeline import build_pipeline
from ai_api.registry.registry import Registry
from ai_api.registry.versions import TrainingRecord, Version
from ai_api.task import Task
from tests.ai.support.small import small_housing

House = tuple[Task, Pipeline, Table]
"""A task, a pipeline fitted on its rows, and its held-out rows."""


@cache
def small_house() -> House:
    """Prices of houses, and a forest."""
    task = small_housing("house", 400)
    return task, *fitted(task, "forest")


def fitted(task: Task, recipe: str) -> tuple[Pipeline, Table]:
    """A pipeline of the recipe, and the held-out rows of the task."""
    parts = split(task.load(None))  # type: ignore[arg-type]
    pipeline = build_pipeline(task, task.recipe(recipe))
    return pipeline.fit(frame(parts.train.rows, task.row.modalities()), parts.train.truths), parts.held_out


def record(task: Task, pipeline: Pipeline, held_out: Table, **more: object) -> TrainingRecord:
    """What a training would record of the pipeline."""
    return TrainingRecord(
        recipe="forest",
        params={"n_estimators": 10},
        metrics={"rmse": 0.5},
        labels=labels_of(pipeline),
        synthetic=False,
        row=task.row,
        row_version=1,
        data_hash=held_out.digest(),
        lineage={"seed": "0"},
        sample=held_out.rows,
        **more,  # type: ignore[arg-type]
    )


def logged_version(registry: Registry, name: str, house: House) -> Version:
    """The pipeline, logged as the newest version of the task `name`."""
    task, pipeline, held_out = house
    return registry.runs.log_version(name, pipeline, record(task, pipeline, held_out))
