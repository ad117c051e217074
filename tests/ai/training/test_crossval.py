"""A cross-validation predicts every row once, by a candidate not trained on it, and logs a run to MLflow."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from ai_api.datasets import Table, without_unseen
from ai_api.registry.registry import Registry
from ai_api.sources import Source
from ai_api.task import Recipe, Task
from ai_api.training.crossval import crossval
from ai_api.training.folds import in_folds
from tests.ai.support.small import small_housing
from tests.ai.training.frauds import RECIPE, TABLE, small_frauds

pytestmark = pytest.mark.training

HOUSING, FRAUDS = small_housing("housing", 200), small_frauds()
HERE = Source(Path())


@pytest.mark.parametrize("task", [HOUSING, FRAUDS], ids=["values", "labels"])
def test_every_row_is_tested_once_and_near_copies_are_in_one_fold(task: Task) -> None:
    table = task.load(HERE)
    twice = Table([*table.rows, *table.rows], np.concatenate([table.truths, table.truths]))
    tests = np.zeros(len(twice), dtype=int)
    for trained, tested in in_folds(task, twice, 5, seed=1):
        assert not (trained & tested).any()
        assert (trained | tested).all()
        sides = np.array(twice.sides)
        assert not set(sides[trained]) & set(sides[tested])
        tests += tested
    assert tests.tolist() == [1] * len(twice)


def test_folds_are_stratified_by_label_and_depend_on_the_seed() -> None:
    shares = [np.mean(TABLE.truths[tested] == "fraud") for _, tested in in_folds(FRAUDS, TABLE, 5, seed=0)]
    assert max(shares) - min(shares) < 0.02
    first, again, other = ([tested.tolist() for _, tested in in_folds(FRAUDS, TABLE, 5, seed)] for seed in (0, 0, 1))
    assert first == again != other


def test_the_figures_are_means_over_folds_beside_the_pooled_ones() -> None:
    events: list[Mapping[str, object]] = []
    found = crossval(FRAUDS, RECIPE, HERE, folds=3, report=lambda kind, data: events.append({"kind": kind, **data}))
    assert len(found.by_fold) == 3
    assert found.rows == len(without_unseen(TABLE)) < len(TABLE)
    assert found.mean["pr_auc"] == pytest.approx(np.mean([fold["pr_auc"] for fold in found.by_fold]))
    assert found.std["pr_auc"] == pytest.approx(np.std([fold["pr_auc"] for fold in found.by_fold], ddof=1))
    assert found.pooled["interval_low"] < found.pooled["pr_auc"] < found.pooled["interval_high"]
    assert found.figures["pr_auc_pooled"] == found.pooled["pr_auc"]
    assert found.mean["weighted_to_real_precision"] < found.mean["precision"]
    assert [data["value"] for data in events if data["kind"] == "metric"] == [fold["pr_auc"] for fold in found.by_fold]
    assert events[-1]["message"] == "done"
    assert found.run_id is None


def test_the_same_seed_gives_the_same_figures() -> None:
    one, again = (crossval(HOUSING, HOUSING.recipes[0], HERE, folds=3, seed=4) for _ in range(2))
    assert one.mean["rmse"] == pytest.approx(again.mean["rmse"], abs=1e-9)
    assert one.data_hash == again.data_hash


def test_parameters_are_tuned_inside_each_fold() -> None:
    messages: list[str] = []
    recipe = Recipe("forest", params={"n_estimators": 5}, tune=2)
    crossval(HOUSING, recipe, HERE, folds=2, report=lambda _, data: messages.append(str(data.get("message", ""))))
    assert sum(message.startswith("tuning: 2 of 2") for message in messages) == 2


def test_it_logs_a_run_and_no_version(registry: Registry, mlflow_url: str) -> None:
    from mlflow import MlflowClient

    task = small_frauds(f"frauds-{uuid.uuid4().hex[:8]}")
    found = crossval(task, task.recipes[1], HERE, folds=3, seed=2, run_log=registry.runs)
    [run] = registry.runs.finished(task.name, "crossval")
    assert registry.runs.finished(task.name) == []
    assert registry.versions(task.name) == []
    assert (run.run_id, run.recipe) == (found.run_id, "smote+logreg")
    assert run.params["resample"] == "smote"
    assert run.lineage["folds"] == "3"
    assert run.lineage["data_hash"] == without_unseen(TABLE).digest()
    assert run.metrics["pr_auc"] == pytest.approx(found.mean["pr_auc"])
    assert run.metrics["recall.fraud"] > 0
    client = MlflowClient(mlflow_url, mlflow_url)
    assert {"report.json", "confusion.png", "precision_recall.png"} <= {
        file.path for file in client.list_artifacts(run.run_id)
    }
    assert len(client.get_metric_history(run.run_id, "pr_auc_by_fold")) == 3
