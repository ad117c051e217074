"""What the starters reach on the real rows. A recipe that gets worse than this is not released."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ai_api.datasets import Source, frame, split
from ai_api.pipeline import build_pipeline
from ai_api.tasks import find_tasks
from ai_api.training.evaluate import answer, baseline, measure


def metrics_of_the_starter(name: str, raw: Path) -> dict[str, float]:
    """The metrics of a task's first recipe, trained on all its rows, beside the baseline's."""
    task = find_tasks()[name]
    mirror = os.environ.get("AI_DATA_MIRROR")
    table = task.load(Source(raw, Path(mirror) if mirror else None))
    assert not table.synthetic, "the floors are of the real data: set AI_DATA_MIRROR, or connect to a network"
    parts = split(table)
    pipeline = build_pipeline(task, task.recipes[0])
    pipeline.fit(frame(parts.train.rows, task.row.modalities()), parts.train.truths)
    found = measure(task, parts.held_out.truths, answer(pipeline, task, parts.held_out))
    return found | baseline(task, parts.train, parts.held_out)


def test_the_starter_of_tweets_reaches_its_floor_on_the_official_validation_rows(tmp_path: Path) -> None:
    found = metrics_of_the_starter("tweets", tmp_path)
    print(found)
    assert found["macro_recall"] >= 0.68
    assert found["baseline_macro_recall"] == pytest.approx(1 / 3)


def test_the_starter_of_housing_reaches_its_floor_on_the_held_out_rows(tmp_path: Path) -> None:
    found = metrics_of_the_starter("housing", tmp_path)
    print(found)
    assert found["rmse"] <= 0.48 < found["baseline_rmse"]
