"""Versions are logged, promoted, rolled back and loaded; damaged files and untrusted types are refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sklearn.pipeline import Pipeline

from ai_api.datasets import split
from ai_api.errors import Conflict, ModelRefused, RegistryUnavailable, UnknownVersion
from ai_api.images.reference import ImageRef
from ai_api.inference import TOLERANCE
from ai_api.registry.files import SAMPLE_ROWS, VersionFiles
from ai_api.registry.registry import Move, Registry
from ai_api.registry.requirements import requirements_of
from ai_api.registry.versions import RunRecord
from ai_api.task import Recipe
from ai_api.training.candidate import make_candidate
from tests.ai.conftest import open_registry
from tests.ai.support.logged import House, fitted, logged_version, record, small_house
from tests.ai.support.small import quick, small_housing, small_task, small_tweets
from tests.ai.training.frauds import TABLE, small_frauds


@pytest.fixture(scope="module")
def house() -> House:
    return small_house()


def log_version(registry: Registry, name: str, house: House) -> int:
    return logged_version(registry, name, house).number


def test_a_task_that_was_never_trained_has_no_champion_and_no_versions(registry: Registry) -> None:
    assert registry.champion("never") is None
    assert registry.previous("never") is None
    assert registry.versions("never") == []
    with pytest.raises(UnknownVersion):
        registry.version("never", "champion")


def test_a_logged_version_has_its_lineage(registry: Registry, house: House) -> None:
    number = log_version(registry, "origin", house)
    version = registry.version("origin", number)
    assert (version.recipe, version.metrics["rmse"], version.labels) == ("forest", 0.5, None)
    assert version.metrics["size_bytes"] > 1_000
    assert version.lineage["seed"] == "0"
    assert registry.is_signed(version)
    assert version.signature is not None
    assert version.signature.by == "trainer"
    assert registry.champion("origin") is None
    assert [found.number for found in registry.versions("origin")] == [number]


def test_a_promotion_needs_the_present_champion(registry: Registry, house: House) -> None:
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
    registry: Registry, house: House, mlflow_url: str, secrets_dir: Path, tmp_path: Path
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
    model = registry.load(version)
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
    model = registry.load(version)
    assert len(model.sample) == SAMPLE_ROWS
    rows = [row for row, _ in model.sample]
    for predictions in (model.predict(rows), [model.predict([row])[0] for row in rows]):
        for prediction, (_, recorded) in zip(predictions, model.sample, strict=True):
            assert prediction.get("label") == recorded.get("label")
            key = "value" if kind == "house" else "score"
            assert prediction[key] == pytest.approx(recorded[key], abs=TOLERANCE)
    assert model.predict([]) == []


def test_many_threads_load_and_predict_at_once(registry: Registry, house: House) -> None:
    number = log_version(registry, "threads", house)
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(lambda _: registry.load(registry.version("threads", number)), range(8)))
        row = models[0].sample[0][0]
        values = set(pool.map(lambda model: str(model.predict([row])), models))
    assert len(values) == 1


def test_a_cached_version_loads_while_mlflow_is_unavailable(
    registry: Registry, house: House, secrets_dir: Path, tmp_path: Path, free_port: object
) -> None:
    version = registry.version("cached", log_version(registry, "cached", house))
    registry.load(version)
    offline = open_registry(f"http://127.0.0.1:{free_port()}", secrets_dir, tmp_path / "versions")  # type: ignore[operator]
    for cached in (offline.cached("cached", version.digest), offline.cached("cached", version.number)):
        assert cached == version
        model = offline.load(cached)
        assert model.predict([model.sample[0][0]]) == [model.sample[0][1]]
    assert offline.cached("cached", "0" * 64) is None


def test_without_mlflow_a_call_fails_within_seconds(
    registry: Registry,
    house: House,
    secrets_dir: Path,
    tmp_path: Path,
    free_port: Callable[[], int],
) -> None:
    version = registry.version("offline", log_version(registry, "offline", house))
    offline = open_registry(f"http://127.0.0.1:{free_port()}", secrets_dir, tmp_path / "versions")
    started = time.monotonic()
    with pytest.raises(RegistryUnavailable):
        offline.champion("house")
    with pytest.raises(RegistryUnavailable):
        offline.load(version)
    assert time.monotonic() - started < 10


def test_damaged_files_in_the_cache_are_fetched_again(registry: Registry, house: House, tmp_path: Path) -> None:
    number = log_version(registry, "damaged", house)
    version = registry.version("damaged", number)
    registry.load(version)
    file = tmp_path / "versions" / "damaged" / version.digest / "model" / "model.skops"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"x")
    registry.load(registry.version("damaged", number))
    assert file.read_bytes() == whole


def test_a_pipeline_with_an_untrusted_type_is_not_logged(registry: Registry, house: House) -> None:
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
    before = VersionFiles.read(tmp_path).digest
    (tmp_path / "a").rename(tmp_path / "b")
    renamed = VersionFiles.read(tmp_path).digest
    (tmp_path / "b").write_text("2")
    assert len({before, renamed, VersionFiles.read(tmp_path).digest}) == 3


def test_a_move_in_mlflow_is_found_once_and_a_rollback_undoes_it(registry: Registry, house: House) -> None:
    first, second = log_version(registry, "moved", house), log_version(registry, "moved", house)
    registry.promote("moved", first, expected=None)
    assert registry.moved("moved") is None
    move_alias(registry, "moved", second)
    move = registry.moved("moved")
    assert move is not None
    assert move.version is not None
    assert (move.version.number, move.before) == (second, first)
    registry.record_move("moved", move)
    assert registry.moved("moved") is None
    assert registry.previous("moved") == first
    assert registry.rollback("moved") == (second, first)
    assert registry.moved("moved") is None


def test_after_a_removal_in_mlflow_a_rollback_brings_the_champion_back(registry: Registry, house: House) -> None:
    first = log_version(registry, "removed", house)
    registry.promote("removed", first, expected=None)
    move_alias(registry, "removed", None)
    assert registry.previous("removed") == first
    move = registry.moved("removed")
    assert move == Move(None, first)
    registry.record_move("removed", move)
    assert registry.moved("removed") is None
    assert registry.rollback("removed") == (None, first)
    assert registry.champion("removed") == first


def test_a_model_made_anew_has_other_versions_under_the_same_numbers(registry: Registry, house: House) -> None:
    old = registry.version("anew", log_version(registry, "anew", house))
    registry.load(old)
    with registry._connection.client() as client:
        client.delete_registered_model("anew")
    new = registry.version("anew", log_version(registry, "anew", house))
    assert new.number == old.number
    assert new.registered_at > old.registered_at
    assert new.digest != old.digest
    assert registry.load(new).version == new
    cached = registry.cached("anew", new.number)
    assert cached is not None
    assert cached.digest == new.digest


def move_alias(registry: Registry, task: str, number: int | None) -> None:
    """Moves or removes the champion alias as somebody does who uses MLflow itself."""
    with registry._connection.client() as client:
        if number is None:
            client.delete_registered_model_alias(task, "champion")
        else:
            client.set_registered_model_alias(task, "champion", str(number))
