"""A training from rows to champion against a real MLflow: what it leaves, what it promotes, how it survives."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from ai_api.datasets import Table, is_held_out, is_unseen
from ai_api.errors import DataUnavailable, InvalidParams, RegistryUnavailable
from ai_api.inference import threshold_of
from ai_api.promotion import Promotions
from ai_api.registry.registry import Registry
from ai_api.sources import Source
from ai_api.task import Recipe, Task
from ai_api.tasks.housing import generate_housing
from ai_api.training.corrections import read_corrections
from ai_api.training.request import TrainingContext, TrainingRequest
from ai_api.training.train import train
from tests.ai.small import small_housing, small_tweets
from tests.ai.training.frauds import small_frauds

USERS = [f"user {number}" for number in range(4)]


@pytest.fixture
def promotions() -> list[Mapping[str, object]]:
    return []


@pytest.fixture
def around(registry: Registry, promotions: list[Mapping[str, object]], tmp_path: Path) -> TrainingContext:
    """A real registry; data-api without corrections, and no lock between processes."""
    by_gate = Promotions(registry, lambda _: contextlib.nullcontext(), promotions.append)
    return TrainingContext(Source(tmp_path), registry, lambda _: [], by_gate, retry_seconds=2)


@pytest.fixture
def task(request: pytest.FixtureRequest) -> Task:
    """A task that no other test has trained."""
    return small_housing(f"house-{uuid.uuid4().hex[:8]}")


def order(task: Task, **more: object) -> TrainingRequest:
    return replace(TrainingRequest(task, task.recipes[0], rounds=100), **more)  # type: ignore[arg-type]


def lines(table: Table, truth: Callable[[float], float] = float, users: list[str] = USERS) -> list[dict[str, object]]:
    """Corrections as data-api streams them."""
    return [
        {
            "id": str(n),
            "row": row,
            "row_schema": 1,
            "label": None,
            "value": truth(value),
            "user_id": users[n % len(users)],
        }
        | {"user_role": "user", "created_at": f"2026-01-01T00:00:{n:05d}"}
        for n, (row, value) in enumerate(zip(table.rows, table.truths, strict=True))
    ]


def test_a_first_version_is_promoted_and_leaves_a_full_record(
    task: Task, around: TrainingContext, promotions: list[Mapping[str, object]], mlflow_url: str
) -> None:
    from mlflow import MlflowClient

    said: list[tuple[str, Mapping[str, object]]] = []
    outcome = train(order(task, seed=3, actor="ann"), around, lambda kind, data: said.append((kind, data)))
    version = around.registry.version(task.name, "champion")
    assert version.number == outcome.version.number
    assert (outcome.decision.promote, outcome.decision.reason) == (True, "first version")
    assert version.metrics["rmse"] < version.metrics["baseline_rmse"]
    assert version.lineage["seed"] == "3"
    assert outcome.report()["promoted"] is True
    assert [data["message"] for kind, data in said if kind == "progress"][-1] == "done"
    assert {str(data["name"]) for kind, data in said if kind == "metric"} == {"rmse", "mae", "r2"}
    [promotion] = promotions
    assert (promotion["version"], promotion["previous"], promotion["actor"]) == (version.number, None, "ann")
    assert uuid.UUID(str(promotion["id"])).version == 7

    client = MlflowClient(mlflow_url, mlflow_url)
    run = client.get_run(version.run_id)
    assert run.data.params["recipe"] == "boosting"
    assert run.data.params["max_iter"] == "30"
    assert run.data.tags["volant.data_hash"] == version.data_hash
    assert len(client.get_metric_history(version.run_id, "rmse_by_step")) > 5
    left = {"report.json", "gate.json", "residuals.png", "model", "model_card.md", "environment.json"}
    assert left <= {f.path for f in client.list_artifacts(version.run_id)}
    assert run.data.tags["volant.kind"] == "training"
    assert run.data.tags["volant.python"].startswith("3.")
    assert version.metrics["interval_low"] < version.metrics["rmse"] < version.metrics["interval_high"]
    measured = {"fit_seconds", "latency_single_ms", "latency_batch_ms", "size_bytes"}
    assert all(version.metrics[name] > 0 for name in measured)
    described = client.get_model_version(task.name, str(version.number)).description
    assert str(described).startswith(f"# {task.name}: boosting")


def test_a_version_with_a_threshold_keeps_what_it_costs(around: TrainingContext, mlflow_url: str) -> None:
    from mlflow import MlflowClient

    task = small_frauds(f"frauds-{uuid.uuid4().hex[:8]}")
    version = train(order(task, recipe=task.recipes[1]), around).version
    model = around.registry.load(task.name, version.number)
    label, threshold = threshold_of(model.pipeline) or ("", 0.0)
    assert (label, threshold) == ("fraud", version.metrics["threshold"])
    assert {"cost_per_1000", "cost_per_1000_at_half", "weighted_to_real_pr_auc"} <= version.metrics.keys()
    assert not [name for name in version.metrics if name.startswith("recall.")], "the version's tag stays small"
    client = MlflowClient(mlflow_url, mlflow_url)
    run = client.get_run(version.run_id)
    assert run.data.metrics["recall.fraud"] > 0
    assert run.data.params["resample"] == "smote"
    left = {file.path for file in client.list_artifacts(version.run_id)}
    assert {"confusion.png", "precision_recall.png", "calibration.png", "per_class.csv"} <= left
    again = train(order(task, recipe=task.recipes[1]), around)
    assert not again.decision.promote
    assert "pr_auc against the champion" in again.decision.reason


def test_a_search_for_parameters_leaves_its_history(task: Task, around: TrainingContext, mlflow_url: str) -> None:
    from mlflow import MlflowClient

    recipe = Recipe("xgboost", params={"n_estimators": 5}, tune=3)
    version = train(order(task, recipe=recipe), around).version
    assert version.recipe == "xgboost"
    client = MlflowClient(mlflow_url, mlflow_url)
    assert client.get_run(version.run_id).data.params["tune"] == "3"
    assert client.get_metric_history(version.run_id, "tune_best_rmse")


def test_a_training_for_the_record_alone_changes_no_champion(
    task: Task, around: TrainingContext, promotions: list[Mapping[str, object]]
) -> None:
    outcome = train(order(task), replace(around, promotions=None))
    assert not outcome.decision.promote
    assert around.registry.champion(task.name) is None
    assert around.registry.versions(task.name)
    assert promotions == []


def test_the_same_order_gives_the_same_answers(task: Task, around: TrainingContext) -> None:
    one, other = train(order(task), around).version, train(order(task), around).version
    assert one.data_hash == other.data_hash
    assert one.metrics["rmse"] == pytest.approx(other.metrics["rmse"], abs=1e-9)
    rows = [row for row, _ in around.registry.load(task.name, one.number).sample]
    assert around.registry.load(task.name, one.number).predict(rows) == around.registry.load(
        task.name, other.number
    ).predict(rows)


def test_an_equal_version_stays_a_challenger_and_the_record_says_why(
    task: Task, around: TrainingContext, promotions: list[Mapping[str, object]]
) -> None:
    first = train(order(task), around).version
    second = train(order(task), around)
    assert not second.decision.promote
    assert "not clearly better" in second.decision.reason
    assert around.registry.champion(task.name) == first.number
    assert len(promotions) == 1
    lineage = around.registry.version(task.name, second.version.number).lineage
    assert (lineage["promoted"], lineage["reason"]) == ("false", second.decision.reason)


def test_corrections_make_a_better_version_that_takes_over(task: Task, around: TrainingContext) -> None:
    first = train(order(task, share=0.1), around).version
    more = generate_housing(900, seed=1)
    corrected = train(order(task, share=0.1), replace(around, corrections=lambda _: lines(more)))
    assert corrected.decision.promote, corrected.decision.reason
    assert corrected.corrections_used == sum(not is_held_out(digest) for digest in more.sides)
    assert around.registry.champion(task.name) == corrected.version.number
    assert around.registry.previous(task.name) == first.number


def test_wrong_values_of_one_person_make_a_worse_version_that_does_not(task: Task, around: TrainingContext) -> None:
    first = train(order(task, share=0.3), around).version
    lies = lines(generate_housing(900, seed=1), lambda value: 6 - value, ["liar"])
    poisoned = train(order(task, share=0.3), replace(around, corrections=lambda _: lies))
    assert not poisoned.decision.promote
    assert "worse" in poisoned.decision.reason
    assert around.registry.champion(task.name) == first.number


def test_labels_train_as_well_as_values(around: TrainingContext) -> None:
    task = small_tweets(f"tweets-{uuid.uuid4().hex[:8]}", 300)
    outcome = train(order(task), around)
    assert outcome.decision.promote
    assert outcome.version.labels == ("negative", "neutral", "positive")
    assert outcome.version.metrics["macro_recall"] > 0.5


def test_corrections_that_do_not_fit_are_left_out(task: Task, caplog: pytest.LogCaptureFixture) -> None:
    table = task.load(Source(Path()))
    good = lines(table.pick([True] * 3 + [False] * (len(table) - 3)))
    bad: list[dict[str, object]] = [
        {**good[0], "row": {"x": 1}},
        {**good[0], "value": None},
        {**good[0], "value": "much"},
        {"id": "4", "row": None},
    ]
    assert len(read_corrections(task, table, [*good, *bad])) == 3
    assert "4 corrections" in caplog.text


def test_older_rows_are_upgraded_before_they_train(task: Task) -> None:
    def upgrade(row: dict[str, object], version: int) -> dict[str, object]:
        return {**row, "MedInc": float(str(row["Income"])) / version} if version == 1 else row

    newer = replace(task, row_version=2, upgrade=lambda row, version: without(upgrade(row, version), "Income"))
    table = task.load(Source(Path()))
    [line] = lines(table.pick([True] + [False] * (len(table) - 1)))
    old = {**line, "row": {**without(dict(table.rows[0]), "MedInc"), "Income": 4.5}}
    [correction] = read_corrections(newer, table, [old])
    assert correction.row["MedInc"] == 4.5


def without(row: dict[str, object], name: str) -> dict[str, object]:
    return {key: value for key, value in row.items() if key != name}


def test_generated_rows_mark_the_version_and_real_ones_replace_it(task: Task, around: TrainingContext) -> None:
    real = task.load(Source(Path()))
    invented = replace(task, load=lambda _: replace(real, synthetic=True))
    first = train(order(invented), around)
    assert first.version.synthetic
    second = train(order(task), around)
    assert second.decision.promote
    assert "generated rows" in second.decision.reason
    assert not second.version.synthetic


def test_a_job_that_was_interrupted_after_logging_goes_on_with_that_version(
    task: Task, around: TrainingContext, promotions: list[Mapping[str, object]]
) -> None:
    first = train(order(task, job=41), around)
    again = train(order(task, job=41), around)
    assert again.version.number == first.version.number
    assert [version.number for version in around.registry.versions(task.name)] == [first.version.number]
    assert again.decision.promote
    assert promotions[0]["id"] == promotions[1]["id"]


def test_when_the_champion_changes_meanwhile_it_is_compared_with_the_new_one(
    task: Task, around: TrainingContext
) -> None:
    train(order(task, share=0.1), around)
    strong = train(order(task, recipe=Recipe("boosting", params={"max_iter": 1})), around).version.number
    raced: list[int] = []

    @contextlib.contextmanager
    def lock(name: str) -> Iterator[None]:
        if not raced:
            raced.append(1)
            around.registry.promote(name, strong, expected=around.registry.champion(name))
        yield

    assert around.promotions is not None
    outcome = train(order(task), replace(around, promotions=replace(around.promotions, lock=lock)))
    assert outcome.decision.promote
    assert around.registry.previous(task.name) == strong


def test_another_service_may_be_away_for_a_moment_but_not_for_ever(task: Task, around: TrainingContext) -> None:
    calls: list[datetime] = []

    def flaky(_: str) -> list[dict[str, object]]:
        calls.append(datetime.now(UTC))
        if len(calls) == 1:
            raise DataUnavailable
        return []

    assert train(order(task), replace(around, corrections=flaky)).decision.promote
    assert len(calls) == 2

    def away(_: str) -> list[dict[str, object]]:
        raise RegistryUnavailable

    with pytest.raises(RegistryUnavailable):
        train(order(task), replace(around, corrections=away, retry_seconds=0))


def test_parameters_are_checked_before_any_row_is_read(task: Task, around: TrainingContext) -> None:
    def read(_: Source) -> Table:
        raise AssertionError("rows were read")

    wrong = replace(task, load=read)
    with pytest.raises(InvalidParams):
        train(order(wrong, recipe=Recipe("boosting", params={"max_iter": -1})), around)


def test_a_row_that_stands_twice_in_a_data_set_stays_on_one_side(task: Task, around: TrainingContext) -> None:
    table = task.load(Source(Path()))
    twin = Table([*table.rows, *table.rows], np.concatenate([table.truths, table.truths]), key=table.key)
    lineage = train(order(replace(task, load=lambda _: twin)), around).version.lineage
    learnt = [digest for digest in table.sides if not is_held_out(digest) and not is_unseen(digest)]
    assert int(lineage["train_rows"]) == 2 * len(learnt)
