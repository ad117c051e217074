"""A training from rows to champion with a real MLflow: record, promotion, interruptions, unavailable services."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from ai_api.datasets import Table, is_held_out, is_unseen
from ai_api.errors import DataUnavailable, InvalidParams, RegistryUnavailable
from ai_api.inference import threshold_of
from ai_api.registry.promotion import Promotions
from ai_api.registry.registry import Registry
from ai_api.sources import Source
from ai_api.task import Recipe, Task
from ai_api.tasks.housing import generate_housing
from ai_api.training.corrections import read_corrections
from ai_api.training.request import TrainingContext, TrainingRequest
from ai_api.training.train import TrainingResult, train
from tests.ai.conftest import open_registry
from tests.ai.support.small import small_housing, small_tweets
from tests.ai.training.frauds import small_frauds

pytestmark = pytest.mark.training

USERS = [f"user {number}" for number in range(4)]


@pytest.fixture
def promotions() -> list[Mapping[str, object]]:
    return []


@pytest.fixture
def context(registry: Registry, promotions: list[Mapping[str, object]], tmp_path: Path) -> TrainingContext:
    return context_of(registry, promotions, tmp_path)


def context_of(registry: Registry, promotions: list[Mapping[str, object]], folder: Path) -> TrainingContext:
    """A real registry; data-api without corrections, and no lock between processes."""
    by_gate = Promotions(registry, lambda _: contextlib.nullcontext(), promotions.append)
    return TrainingContext(Source(folder), registry, lambda _: [], by_gate, retry_seconds=2)


@pytest.fixture
def task(request: pytest.FixtureRequest) -> Task:
    """A task that no other test has trained."""
    return small_housing(f"house-{uuid.uuid4().hex[:8]}")


@dataclass(frozen=True)
class Trained:
    """A task whose first version serves. Tests that use it promote no other."""

    request: TrainingRequest
    context: TrainingContext
    events: list[tuple[str, Mapping[str, object]]]
    promotions: list[Mapping[str, object]]
    first: TrainingResult

    @property
    def task(self) -> Task:
        return self.request.task


@pytest.fixture(scope="module")
def trained(mlflow_url: str, secrets_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    promotions: list[Mapping[str, object]] = []
    events: list[tuple[str, Mapping[str, object]]] = []
    context = context_of(open_registry(mlflow_url, secrets_dir, folder / "versions"), promotions, folder)
    request = request_for(small_housing(f"house-{uuid.uuid4().hex[:8]}"), seed=3, actor="ann")
    first = train(request, context, lambda kind, data: events.append((kind, data)))
    return Trained(request, context, events, promotions, first)


@pytest.fixture(scope="module")
def again(trained: Trained) -> TrainingResult:
    """Trained by the same request, while the first version serves."""
    return train(trained.request, trained.context)


def request_for(task: Task, **more: object) -> TrainingRequest:
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


def test_a_first_version_is_promoted_and_has_a_full_record(trained: Trained, mlflow_url: str) -> None:
    from mlflow import MlflowClient

    task, events, result = trained.task, trained.events, trained.first
    version = trained.context.registry.version(task.name, "champion")
    assert version.number == result.version.number
    assert (result.decision.promote, result.decision.reason) == (True, "first version")
    assert version.metrics["rmse"] < version.metrics["baseline_rmse"]
    assert version.lineage["seed"] == "3"
    assert result.report()["promoted"] is True
    assert [data["message"] for kind, data in events if kind == "progress"][-1] == "done"
    assert {str(data["name"]) for kind, data in events if kind == "metric"} == {"rmse", "mae", "r2"}
    [promotion] = trained.promotions
    assert (promotion["version"], promotion["previous"], promotion["actor"]) == (version.number, None, "ann")
    assert uuid.UUID(str(promotion["id"])).version == 7

    client = MlflowClient(mlflow_url, mlflow_url)
    run = client.get_run(version.run_id)
    assert run.data.params["recipe"] == "boosting"
    assert run.data.params["max_iter"] == "30"
    assert run.data.tags["volant.data_hash"] == version.data_hash
    assert len(client.get_metric_history(version.run_id, "rmse_by_step")) > 5
    artifacts = {"report.json", "gate.json", "residuals.png", "model", "model_card.md", "environment.json"}
    assert artifacts <= {f.path for f in client.list_artifacts(version.run_id)}
    assert run.data.tags["volant.kind"] == "training"
    assert run.data.tags["volant.python"].startswith("3.")
    assert version.metrics["interval_low"] < version.metrics["rmse"] < version.metrics["interval_high"]
    figures = {"fit_seconds", "latency_single_ms", "latency_batch_ms", "size_bytes"}
    assert all(version.metrics[name] > 0 for name in figures)
    description = client.get_model_version(task.name, str(version.number)).description
    assert str(description).startswith(f"# {task.name}: boosting")


def test_a_version_with_a_threshold_records_its_costs(context: TrainingContext, mlflow_url: str) -> None:
    from mlflow import MlflowClient

    task = small_frauds(f"frauds-{uuid.uuid4().hex[:8]}")
    version = train(request_for(task, recipe=task.recipes[1]), context).version
    model = context.registry.load(version)
    label, threshold = threshold_of(model.pipeline) or ("", 0.0)
    assert (label, threshold) == ("fraud", version.metrics["threshold"])
    assert {"cost_per_1000", "cost_per_1000_at_half", "weighted_to_real_pr_auc"} <= version.metrics.keys()
    assert not [name for name in version.metrics if name.startswith("recall.")], "the version's tag stays small"
    client = MlflowClient(mlflow_url, mlflow_url)
    run = client.get_run(version.run_id)
    assert run.data.metrics["recall.fraud"] > 0
    assert run.data.params["resample"] == "smote"
    artifacts = {file.path for file in client.list_artifacts(version.run_id)}
    assert {"confusion.png", "precision_recall.png", "calibration.png", "per_class.csv"} <= artifacts
    again = train(request_for(task, recipe=task.recipes[1]), context)
    assert not again.decision.promote
    assert "pr_auc against the champion" in again.decision.reason


def test_a_search_for_parameters_records_its_history(task: Task, context: TrainingContext, mlflow_url: str) -> None:
    from mlflow import MlflowClient

    recipe = Recipe("forest", params={"n_estimators": 5}, tune=3)
    version = train(request_for(task, recipe=recipe), context).version
    assert version.recipe == "forest"
    client = MlflowClient(mlflow_url, mlflow_url)
    assert client.get_run(version.run_id).data.params["tune"] == "3"
    assert client.get_metric_history(version.run_id, "tune_best_rmse")


def test_a_training_without_promotions_only_logs_its_version(
    task: Task, context: TrainingContext, promotions: list[Mapping[str, object]]
) -> None:
    result = train(request_for(task), replace(context, promotions=None))
    assert not result.decision.promote
    assert context.registry.champion(task.name) is None
    assert context.registry.versions(task.name)
    assert promotions == []


def test_the_same_request_makes_a_version_with_the_same_predictions(trained: Trained, again: TrainingResult) -> None:
    one, other = trained.first.version, again.version
    assert one.number != other.number
    assert one.data_hash == other.data_hash
    assert one.metrics["rmse"] == pytest.approx(other.metrics["rmse"], abs=1e-9)
    model, same = (trained.context.registry.load(version) for version in (one, other))
    rows = [row for row, _ in model.sample]
    assert model.predict(rows) == same.predict(rows)


def test_an_equal_version_is_not_promoted_and_its_lineage_has_the_reason(
    trained: Trained, again: TrainingResult
) -> None:
    registry, task = trained.context.registry, trained.task
    assert not again.decision.promote
    assert "not clearly better" in again.decision.reason
    assert registry.champion(task.name) == trained.first.version.number
    assert len(trained.promotions) == 1
    lineage = registry.version(task.name, again.version.number).lineage
    assert (lineage["promoted"], lineage["reason"]) == ("false", again.decision.reason)


def test_a_version_made_better_by_corrections_is_promoted(task: Task, context: TrainingContext) -> None:
    first = train(request_for(task, share=0.1), context).version
    more = generate_housing(900, seed=1)
    corrected = train(request_for(task, share=0.1), replace(context, corrections=lambda _: lines(more)))
    assert corrected.decision.promote, corrected.decision.reason
    assert corrected.corrections_used == sum(not is_held_out(digest) for digest in more.sides)
    assert context.registry.champion(task.name) == corrected.version.number
    assert context.registry.previous(task.name) == first.number


def test_a_version_made_worse_by_wrong_corrections_is_not_promoted(trained: Trained) -> None:
    wrong = lines(generate_housing(900, seed=1), lambda value: 6 - value, ["poisoner"])
    poisoned = train(trained.request, replace(trained.context, corrections=lambda _: wrong))
    assert not poisoned.decision.promote
    assert "worse" in poisoned.decision.reason
    assert trained.context.registry.champion(trained.task.name) == trained.first.version.number


def test_a_classification_is_trained_as_a_regression_is(context: TrainingContext) -> None:
    task = small_tweets(f"tweets-{uuid.uuid4().hex[:8]}", 300)
    result = train(request_for(task), context)
    assert result.decision.promote
    assert result.version.labels == ("negative", "neutral", "positive")
    assert result.version.metrics["macro_recall"] > 0.5


def test_corrections_that_do_not_fit_the_row_schema_are_left_out(task: Task, caplog: pytest.LogCaptureFixture) -> None:
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


def test_corrections_of_an_older_row_schema_are_upgraded(task: Task) -> None:
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


def test_a_version_trained_on_real_rows_replaces_one_trained_on_generated_rows(
    task: Task, context: TrainingContext
) -> None:
    real = task.load(Source(Path()))
    synthetic = replace(task, load=lambda _: replace(real, synthetic=True))
    first = train(request_for(synthetic), context)
    assert first.version.synthetic
    second = train(request_for(task), context)
    assert second.decision.promote
    assert "generated rows" in second.decision.reason
    assert not second.version.synthetic


def test_a_job_that_was_interrupted_after_logging_continues_with_that_version(
    task: Task, context: TrainingContext, promotions: list[Mapping[str, object]]
) -> None:
    request = request_for(task, job=41, job_created_at="2026-11-01T00:00:00+00:00")
    first, again = train(request, context), train(request, context)
    assert again.version.number == first.version.number
    assert [version.number for version in context.registry.versions(task.name)] == [first.version.number]
    assert again.decision.promote
    assert promotions[0]["id"] == promotions[1]["id"]
    of_a_new_queue = train(replace(request, job_created_at="2026-12-01T00:00:00+00:00"), context)
    assert of_a_new_queue.version.number != first.version.number


def test_when_the_champion_changes_during_the_comparison_it_is_repeated_with_the_new_one(
    task: Task, context: TrainingContext
) -> None:
    train(request_for(task, share=0.1), context)
    strong = train(request_for(task, recipe=Recipe("boosting", params={"max_iter": 1})), context).version.number
    raced: list[int] = []

    @contextlib.contextmanager
    def lock(name: str) -> Iterator[None]:
        if not raced:
            raced.append(1)
            context.registry.promote(name, strong, expected=context.registry.champion(name))
        yield

    assert context.promotions is not None
    result = train(request_for(task), replace(context, promotions=replace(context.promotions, lock=lock)))
    assert result.decision.promote
    assert context.registry.previous(task.name) == strong


def test_nothing_is_compared_with_a_champion_that_has_no_valid_signature(task: Task, context: TrainingContext) -> None:
    first = train(request_for(task, share=0.1), context).version
    with context.registry._connection.client() as client:
        client.delete_model_version_tag(task.name, str(first.number), "volant.signature")
    decision = train(request_for(task), context).decision
    assert not decision.promote
    assert "no valid signature" in decision.reason
    assert context.registry.champion(task.name) == first.number


def test_an_unavailable_service_is_retried_for_a_limited_time(task: Task, context: TrainingContext) -> None:
    calls: list[datetime] = []

    def flaky(_: str) -> list[dict[str, object]]:
        calls.append(datetime.now(UTC))
        if len(calls) == 1:
            raise DataUnavailable
        return []

    assert train(request_for(task), replace(context, corrections=flaky)).decision.promote
    assert len(calls) == 2

    def unavailable(_: str) -> list[dict[str, object]]:
        raise RegistryUnavailable

    with pytest.raises(RegistryUnavailable):
        train(request_for(task), replace(context, corrections=unavailable, retry_seconds=0))


def test_parameters_are_checked_before_any_row_is_read(task: Task, context: TrainingContext) -> None:
    def read(_: Source) -> Table:
        raise AssertionError("rows were read")

    wrong = replace(task, load=read)
    with pytest.raises(InvalidParams):
        train(request_for(wrong, recipe=Recipe("boosting", params={"max_iter": -1})), context)


def test_a_repeated_row_of_a_data_set_is_in_one_part_only(task: Task, context: TrainingContext) -> None:
    table = task.load(Source(Path()))
    twin = Table([*table.rows, *table.rows], np.concatenate([table.truths, table.truths]), key=table.key)
    lineage = train(request_for(replace(task, load=lambda _: twin)), context).version.lineage
    trained = [digest for digest in table.sides if not is_held_out(digest) and not is_unseen(digest)]
    assert int(lineage["train_rows"]) == 2 * len(trained)
