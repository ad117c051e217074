"""The lowest metrics that recipes must reach on the real rows. A recipe below its floor is not released."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ai_api.datasets import frame, split
from ai_api.evaluation.evaluate import baseline, measure, predict_table
from ai_api.evaluation.metrics import METRICS
from ai_api.pipeline import build_pipeline
from ai_api.sources import Source
from ai_api.tasks import find_tasks
from ai_api.training.crossval import crossval


def source(raw: Path) -> Source:
    mirror = os.environ.get("AI_DATA_MIRROR")
    return Source(raw, Path(mirror) if mirror else None)


def metrics_of(name: str, recipe: str, raw: Path) -> dict[str, float]:
    """The metrics of a recipe, trained on all of a task's training rows, beside the baseline's."""
    task = find_tasks()[name]
    table = task.load(source(raw))
    assert not table.synthetic, "the floors are of the real data: set AI_DATA_MIRROR, or connect to a network"
    parts = split(table)
    pipeline = build_pipeline(task, task.recipe(recipe))
    pipeline.fit(frame(parts.train.rows, task.row.modalities()), parts.train.truths)
    found = measure(task, parts.held_out.truths, predict_table(pipeline, task, parts.held_out))
    return found | baseline(task, parts.train, parts.held_out)


@pytest.mark.slow
def test_the_starter_of_tweets_reaches_its_floor_on_the_official_validation_rows(tmp_path: Path) -> None:
    found = metrics_of("tweets", find_tasks()["tweets"].recipes[0].name, tmp_path)
    print(found)
    assert found["macro_recall"] >= 0.68
    assert found["baseline_macro_recall"] == pytest.approx(1 / 3)


@pytest.mark.slow
def test_the_starter_of_housing_reaches_its_floor_on_the_held_out_rows(tmp_path: Path) -> None:
    found = metrics_of("housing", find_tasks()["housing"].recipes[0].name, tmp_path)
    print(found)
    assert found["rmse"] <= 0.48 < found["baseline_rmse"]


@pytest.mark.campaign(part="training")
@pytest.mark.parametrize(
    ("name", "recipe", "floor"),
    [("housing", "lightgbm", 0.440), ("fraud", "lightgbm", 0.918), ("churn", "catboost", 0.847)],
)
def test_a_recipe_reaches_its_floor_in_five_folds(name: str, recipe: str, floor: float, tmp_path: Path) -> None:
    task = find_tasks()[name]
    assert not task.load(source(tmp_path)).synthetic
    found = crossval(task, task.recipe(recipe), source(tmp_path), folds=5)
    print(found.figures)
    sign = METRICS[task.metric].sign
    assert sign * found.mean[task.metric] >= sign * floor
    if name == "fraud":
        assert found.mean["weighted_to_real_pr_auc"] < found.mean["pr_auc"]


@pytest.mark.campaign(part="training")
@pytest.mark.parametrize(
    ("name", "recipe", "floor"),
    [
        ("tweets", "bert", 0.73),
        ("fashion", "tfidf+svm", 0.955),
        ("fashion", "pixels+cnn", 0.84),
    ],
)
def test_a_recipe_reaches_its_floor_on_the_held_out_rows(name: str, recipe: str, floor: float, tmp_path: Path) -> None:
    found = metrics_of(name, recipe, tmp_path)
    print(found)
    assert found[find_tasks()[name].metric] >= floor
