"""Versions of test size: real pipelines, fitted on a few generated rows, saved and loaded as the registry does."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import skops.io

from ai_api.inference import labels_of
from ai_api.pipeline import build_pipeline, for_serving
from ai_api.registry.files import VersionFiles, write_rows
from ai_api.registry.versions import LoadedModel, TrainingRecord, Version
from ai_api.task import Recipe
from ai_api.training.fitting import fit
from tests.ai.support.small import quick, small_table, small_task

RECIPES: Mapping[str, tuple[Recipe, ...]] = {
    "tweets": (Recipe("logreg", text="tfidf"), Recipe("logreg", text="tfidf", params={"C": 0.1})),
    "housing": (quick(Recipe("boosting")),),
    "products": (quick(Recipe("forest", text="tfidf", image="pixels")),),
}
"""By task, the recipe of each of its versions."""
SAMPLE_ROWS = 8
REGISTERED_AT = datetime(2026, 10, 1, tzinfo=UTC)


@cache
def small_models() -> tuple[LoadedModel, ...]:
    """The versions of RECIPES, numbered from 1. The first of each task is meant to be champion."""
    pairs = [(task, recipe) for task, recipes in RECIPES.items() for recipe in recipes]
    return tuple(small_model(task, recipe, number) for number, (task, recipe) in enumerate(pairs, start=1))


def small_model(name: str, recipe: Recipe, number: int) -> LoadedModel:
    """A version of this recipe."""
    task, table = small_task(name), small_table(name)
    pipeline = for_serving(fit(build_pipeline(task, recipe), task, table))
    record = TrainingRecord(
        recipe=recipe.name,
        params={},
        metrics={task.metric: 0.5},
        data_hash="d",
        lineage={},
        labels=labels_of(pipeline),
        synthetic=False,
        row=task.row,
        row_version=task.row_version,
        sample=table.rows[:SAMPLE_ROWS],
    )
    with tempfile.TemporaryDirectory() as folder:
        skops.io.dump(pipeline, Path(folder) / "model.skops")
        write_rows(Path(folder), pipeline, record)
        return VersionFiles.read(Path(folder)).load(version_of(record, name, number), "cpu")


def version_of(record: TrainingRecord, task: str, number: int) -> Version:
    """What the registry would know of this version."""
    return Version(
        task=task,
        number=number,
        run_id=f"run {number}",
        recipe=record.recipe,
        created_at=datetime(2026, 11, 1, tzinfo=UTC),
        aliases=(),
        metrics=dict(record.metrics),
        labels=record.labels,
        synthetic=record.synthetic,
        row_version=record.row_version,
        data_hash=record.data_hash,
        digest=f"digest {number}",
        registered_at=REGISTERED_AT,
    )
