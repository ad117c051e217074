"""Versions are logged, promoted, rolled back and loaded; damaged files and untrusted types are refused."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sklearn.pipeline import Pipeline

from ai_api.datasets import Table, frame, split
from ai_api.errors import Conflict, ModelRefused, RegistryUnavailable, UnknownVersion
from ai_api.images.reference import ImageRef
from ai_api.inference import TOLERANCE, labels_of
from ai_api.pipeline import build_pipeline
from ai_api.registry.files import SAMPLE_ROWS, digest_of, requirements_of
from ai_api.registry.registry import Registry
from ai_api.registry.versions import RunRecord, TrainingRecord
from ai_api.task import Recipe, Task
from ai_api.training.candidate import make_candidate
from tests.ai.conftest import open_registry
from tests.ai.support.small import quick, small_housing, small_task, small_tweets
from tests.ai.training.frauds import TABLE, small_frauds


def fitted(task: Task, recipe: str) -> tuple[Pipeline, Table]:
    parts = split(task.load(None))  # type: ignore[arg-type]
    pipeline = build_pipeline(task, task.recipe(recipe))
    return pipeline.fit(frame(parts.train.rows, task.row.modalities()), parts.train.truths), parts.held_out


def record(task: Task, pipeline: Pipeline, held_out: Table, **more: object) -> TrainingRecord:
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


@pytest.fixture(scope="module")
def house() -> tuple[Task, Pipeline, Table]:
    task = small_housing("house", 400)
    return task, *fitted(task, "forest")


def log_version(registry: Registry, name: str, house: tuple[Task, Pipeline, Table]) -> int:
    task, pipeline, held_out = house
    return registry.runs.log_version(name, pipeline, record(task, pipeline, held_out)).number


def test_a_task_that_was_never_trained_has_no_champion_and_no_versions(registry: Registry) -> None:
    assert registry.champion("never") is None
    assert registry.previous("never") is None
    assert registry.versions("never") == []
    with pytest.raises(UnknownVersion):
        registry.version("never", "champion")


def test_a_logged_version_has_its_lineage(registry: Registry, house: tuple[Task, Pipeline, Table]) -> None:
    number = log_version(registry, "origin", house)
    version = registry.version("origin", number)
    assert (version.recipe, version.metrics["rmse"], version.labels) == ("forest", 0.5, None)
    assert version.metrics["size_bytes"] > 1_000
    assert version.lineage["seed"] == "0"
    assert version.trained_here
    assert registry.champion("origin") is None
    assert [found.number for found in registry.versions("origin")] == [number]


def test_a_promotion_needs_the_present_champion(registry: Registry, house: tuple[Task, Pipeline, Table]) -> None:
    first, second = log_version(registry, "expected", house), log_version(registry, "expected", house)
    registry.promote("expected", first, expected=None)
    with pytest.raises(Conflict):
        registry.promote("expected", second, expected=None)
    with pytest.raises(Conflict):
        registry.promote("expected", second, expected=second)
    assert registry.champion("expected") == first
    registry.promote("expected", second, expected=first)
    assert registry.champion("expected") == second
    assert registry.version("expected", "champion").aliases == ("champion",)
    with pytest.raises(UnknownVersion):
        registry.promote("expected", 99, expected=second)


def test_a_rollback_needs_only_the_registry(
    registry: Registry, house: tuple[Task, Pipeline, Table], mlflow_url: str, secrets_dir: Path, tmp_path: Path
) -> None:
    first, second = log_version(registry, "back", house), log_version(registry, "back", house)
    registry.promote("back", first, expected=None)
    with pytest.raises(Conflict):
        registry.rollback("back")
    registry.promote("back", second, expected=first)
    elsewhere = open_registry(mlflow_url, secrets_dir, tmp_path / "elsewhere")
    assert elsewhere.previous("back") == first
    assert elsewhere.rollback("back") == (second, first)
    assert registry.champion("back") == first


def test_a_run_stores_many_metrics_and_labels_with_any_characters(registry: Registry) -> None:
    details = {f"recall.{number} <= x": float(number) for number in range(250)} | {"recall.nothing": float("nan")}
    history = [("loss", 1 / step, step) for step in range(1, 150)]
    params = {f"features__{number}": number for number in range(120)}
    run = RunRecord(
        recipe="forest",
        params=params,
        metrics={"rmse": 0.5},
        data_hash="0",
        lineage={"seed": "1"},
        details=details,
        history=history,
    )
    run_id = registry.runs.log_run("figures", run, "crossval")
    [found] = registry.runs.finished("figures", "crossval")
    assert (found.run_id, found.recipe, found.kind, found.lineage["seed"]) == (run_id, "forest", "crossval", "1")
    assert found.metrics["recall.249 __ x"] == 249
    assert "recall.nothing" not in found.metrics
    assert len(found.params) == 121
    assert registry.runs.finished("figures") == []
    assert registry.runs.finished("never") == []


def test_a_version_has_the_packages_that_it_requires() -> None:
    plain = requirements_of(fitted(small_housing("needs"), "forest")[0])
    assert [package.partition("==")[0] for package in plain.packages] == ["numpy", "pandas", "scikit-learn", "skops"]
    task = small_frauds()
    boosted = make_candidate(task, task.recipe("lightgbm"), split(TABLE).train, seed=0)
    names = {package.partition("==")[0] for package in requirements_of(boosted.pipeline).packages}
    assert "lightgbm" in names
    sampled = make_candidate(task, task.recipe("smote+logreg"), split(TABLE).train, seed=0)
    assert not [name for name in requirements_of(sampled.pipeline).packages if "imbalanced" in name]


def test_images_of_the_sample_are_saved_with_a_version(registry: Registry) -> None:
    recipe = quick(Recipe("forest", image="pixels"))
    task = replace(small_task("products"), name="pictures", recipes=(recipe,))
    pipeline, held_out = fitted(task, recipe.name)
    version = registry.runs.log_version(task.name, pipeline, record(task, pipeline, held_out))
    model = registry.load(task.name, version.number)
    rows = [row for row, _ in model.sample]
    assert rows == held_out.rows[:SAMPLE_ROWS]
    assert any(isinstance(row["image"], ImageRef) for row in rows)
    for prediction, (_, recorded) in zip(model.predict(rows), model.sample, strict=True):
        assert prediction["label"] == recorded["label"]
        assert prediction["score"] == pytest.approx(recorded["score"], abs=TOLERANCE)


@pytest.mark.parametrize("kind", ["house", "text"])
def test_a_loaded_version_predicts_its_sample_as_recorded_alone_and_in_a_batch(registry: Registry, kind: str) -> None:
    task = small_housing(f"sample-{kind}", 400) if kind == "house" else small_tweets(f"sample-{kind}", 400)
    pipeline, held_out = fitted(task, task.recipes[0].name)
    version = registry.runs.log_version(task.name, pipeline, record(task, pipeline, held_out))
    model = registry.load(task.name, version.number)
    assert len(model.sample) == SAMPLE_ROWS
    rows = [row for row, _ in model.sample]
    for predictions in (model.predict(rows), [model.predict([row])[0] for row in rows]):
        for prediction, (_, recorded) in zip(predictions, model.sample, strict=True):
            assert prediction.get("label") == recorded.get("label")
            key = "value" if kind == "house" else "score"
            assert prediction[key] == pytest.approx(recorded[key], abs=TOLERANCE)
    assert model.predict([]) == []


def test_many_threads_load_and_predict_at_once(registry: Registry, house: tuple[Task, Pipeline, Table]) -> None:
    number = log_version(registry, "threads", house)
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(lambda _: registry.load("threads", number), range(8)))
        row = models[0].sample[0][0]
        values = set(pool.map(lambda model: str(model.predict([row])), models))
    assert len(values) == 1


def test_a_cached_version_loads_while_mlflow_is_unavailable(
    registry: Registry, house: tuple[Task, Pipeline, Table], secrets_dir: Path, tmp_path: Path, free_port: object
) -> None:
    number = log_version(registry, "cached", house)
    registry.load("cached", number)
    offline = open_registry(f"http://127.0.0.1:{free_port()}", secrets_dir, tmp_path / "versions")  # type: ignore[operator]
    model = offline.load("cached", number)
    assert model.version.number == number
    assert model.predict([model.sample[0][0]]) == [model.sample[0][1]]


def test_without_mlflow_a_call_fails_within_seconds(secrets_dir: Path, tmp_path: Path, free_port: object) -> None:
    offline = open_registry(f"http://127.0.0.1:{free_port()}", secrets_dir, tmp_path)  # type: ignore[operator]
    started = time.monotonic()
    with pytest.raises(RegistryUnavailable):
        offline.champion("house")
    with pytest.raises(RegistryUnavailable):
        offline.load("house", 1)
    assert time.monotonic() - started < 10


def test_damaged_files_in_the_cache_are_fetched_again(
    registry: Registry, house: tuple[Task, Pipeline, Table], tmp_path: Path
) -> None:
    number = log_version(registry, "damaged", house)
    registry.load("damaged", number)
    file = tmp_path / "versions" / "damaged" / str(number) / "model" / "model.skops"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"x")
    registry.load("damaged", number)
    assert file.read_bytes() == whole


def test_files_with_another_digest_than_logged_are_refused(
    registry: Registry, house: tuple[Task, Pipeline, Table], mlflow_url: str
) -> None:
    from mlflow import MlflowClient

    number = log_version(registry, "changed", house)
    MlflowClient(mlflow_url).set_model_version_tag("changed", str(number), "volant.digest", "0" * 64)
    with pytest.raises(ModelRefused, match="digest"):
        registry.load("changed", number)


def test_a_version_without_our_digest_is_refused(registry: Registry, mlflow_url: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_url, mlflow_url)
    registry.champion("foreign")
    client.create_registered_model("foreign")
    run = client.create_run(client.create_experiment("foreign"))
    client.create_model_version("foreign", f"runs:/{run.info.run_id}/model", run.info.run_id, await_creation_for=0)
    assert not registry.version("foreign", 1).trained_here
    with pytest.raises(ModelRefused, match="trainers"):
        registry.load("foreign", 1)


def test_a_pipeline_with_an_untrusted_type_is_not_logged(
    registry: Registry, house: tuple[Task, Pipeline, Table]
) -> None:
    from sklearn.preprocessing import FunctionTransformer

    task, pipeline, held_out = house
    untrusted = Pipeline([("print", FunctionTransformer(print_and_return)), *pipeline.steps])
    with pytest.raises(ModelRefused, match="print_and_return"):
        registry.runs.log_version("untrusted", untrusted, record(task, untrusted, held_out))
    assert registry.versions("untrusted") == []


def print_and_return(values: object) -> object:
    return values


def test_a_digest_covers_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = digest_of(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    renamed = digest_of(tmp_path)
    (tmp_path / "b").write_text("2")
    assert len({before, renamed, digest_of(tmp_path)}) == 3
