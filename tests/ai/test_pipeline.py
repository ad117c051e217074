"""Every recipe of every task builds, fits, is saved and reloaded, and predicts the same alone and in a batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import skops.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from ai_api.datasets import Table, split
from ai_api.errors import InvalidParams, UnknownRecipe
from ai_api.features import image
from ai_api.inference import TOLERANCE, labels_of, predict
from ai_api.pipeline import build_pipeline, check_params, for_serving
from ai_api.registry.requirements import requirements_of
from ai_api.sources import Source
from ai_api.task import Recipe, Task
from ai_api.tasks import find_tasks
from ai_api.training.fitting import fit
from tests.ai.support.small import BACKBONE, small_task
from tests.ai.support.weights import ENCODER, give_encoder, give_weights

pytestmark = pytest.mark.training

TASKS = {name: small_task(name) for name in find_tasks()}
TWEETS, HOUSING = TASKS["tweets"], TASKS["housing"]
RECIPES = [
    pytest.param(task, recipe, id=f"{task.name}-{recipe.name}") for task in TASKS.values() for recipe in task.recipes
]
ROWS = 8
SLOW_FEATURES = ("minilm", "use", "sentence-bert", "backbone")
FEW = 60
"""Rows for SLOW_FEATURES to encode."""


@pytest.fixture(scope="module", autouse=True)
def _weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Small files in the place of the public weights that some recipes read."""
    import torch

    timm = image._timm()
    from timm.models import save_for_hf

    folder = give_encoder(give_weights(tmp_path_factory.mktemp("weights")))
    torch.manual_seed(0)
    save_for_hf(timm.create_model(BACKBONE.partition(".")[0]), str(folder / BACKBONE), safe_serialization=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AI_WEIGHTS_DIR", str(folder))
        yield
    image._load.cache_clear()


def table(task: Task) -> Table:
    return split(task.load(Source(None))).train  # type: ignore[arg-type]


def test_the_small_tasks_have_every_recipe_of_the_real_ones() -> None:
    for name, task in find_tasks().items():
        assert [recipe.name for recipe in TASKS[name].recipes] == [recipe.name for recipe in task.recipes]


@pytest.mark.parametrize(("task", "recipe"), RECIPES)
def test_a_recipe_predicts_the_same_after_saving(task: Task, recipe: Recipe) -> None:
    rows, columns = table(task), task.row.modalities()
    if recipe.estimator == "bert":
        recipe = replace(recipe, params={**recipe.params, "package": ENCODER})
    if {recipe.text, recipe.image} & {*SLOW_FEATURES}:
        rows = rows.pick(place < FEW for place in range(len(rows)))
    pipeline = for_serving(fit(clone(build_pipeline(task, recipe)), task, rows))
    again = skops.io.loads(skops.io.dumps(pipeline), trusted=requirements_of(pipeline).types)
    some = rows.rows[:ROWS]
    predictions = predict(again, columns, labels_of(again), some)
    same(predictions, predict(pipeline, columns, labels_of(pipeline), some))
    same(predictions, [predict(again, columns, labels_of(again), [row])[0] for row in some])


def same(predictions: list[dict[str, object]], others: list[dict[str, object]]) -> None:
    for prediction, other in zip(predictions, others, strict=True):
        assert numbers(other) == pytest.approx(numbers(prediction), abs=TOLERANCE)
        assert other.get("label") == prediction.get("label")


def numbers(prediction: dict[str, object]) -> list[float]:
    return [prediction["value"]] if "value" in prediction else list(prediction["probabilities"].values())  # type: ignore[attr-defined,list-item]


@pytest.fixture(scope="module")
def tweets() -> object:
    return fit(build_pipeline(TWEETS, TWEETS.recipes[0]), TWEETS, table(TWEETS))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=8))
def test_any_batch_of_any_texts_gives_what_single_calls_give(tweets: object, texts: list[str]) -> None:
    columns, labels = TWEETS.row.modalities(), labels_of(tweets)
    together = predict(tweets, columns, labels, [{"text": text} for text in texts])
    for text, prediction in zip(texts, together, strict=True):
        [alone] = predict(tweets, columns, labels, [{"text": text}])
        assert alone["label"] == prediction["label"]
        assert numbers(alone) == pytest.approx(numbers(prediction), abs=TOLERANCE)


def test_a_prediction_consists_of_plain_values(tweets: object) -> None:
    [prediction] = predict(tweets, TWEETS.row.modalities(), labels_of(tweets), [{"text": "love it"}])
    probabilities = prediction["probabilities"]
    assert isinstance(probabilities, dict)
    assert prediction["score"] == probabilities[prediction["label"]] == max(probabilities.values())
    assert sum(probabilities.values()) == pytest.approx(1)
    assert {type(value) for value in probabilities.values()} == {float}


def test_text_features_go_where_texts_are() -> None:
    for task, recipe in ((TWEETS, Recipe("logreg")), (HOUSING, Recipe("forest", text="tfidf"))):
        with pytest.raises(UnknownRecipe, match="text features"):
            build_pipeline(task, recipe)


def test_the_seed_stands_among_the_parameters() -> None:
    recipe, seed = check_params(HOUSING, HOUSING.recipes[0], {"seed": 7, "max_iter": 5})
    assert (dict(recipe.params), seed) == ({"max_iter": 5}, 7)
    assert build_pipeline(HOUSING, recipe, seed)[-1].random_state == 7


@pytest.mark.parametrize("params", [{"seed": -1}, {"seed": "x"}, {"seed": True}, {"max_iter": -3}, {"depth": 1}])
def test_wrong_parameters_are_refused(params: dict[str, object]) -> None:
    with pytest.raises(InvalidParams):
        check_params(HOUSING, HOUSING.recipes[0], params)


def test_a_row_with_a_gap_has_a_prediction() -> None:
    rows = table(HOUSING)
    pipeline = fit(build_pipeline(HOUSING, HOUSING.recipes[0]), HOUSING, rows)
    [prediction] = predict(pipeline, HOUSING.row.modalities(), None, [{**rows.rows[0], "AveBedrms": None}])
    assert np.isfinite(float(str(prediction["value"])))
