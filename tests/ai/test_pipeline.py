"""Every recipe of every task builds, fits, is saved, reloaded, and answers the same: alone, in a batch, afterwards."""

from __future__ import annotations

import numpy as np
import pytest
import skops.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from ai_api.datasets import Table, frame, split
from ai_api.errors import InvalidParams, UnknownRecipe
from ai_api.pipeline import build_pipeline, check_params
from ai_api.registry import TOLERANCE, _trusted, labels_of, predict
from ai_api.task import Recipe, Task
from ai_api.tasks import find_tasks
from tests.ai.small import small_housing, small_tweets

TASKS = [small_tweets("tweets", 300), small_housing("housing", 300)]
RECIPES = [pytest.param(task, recipe, id=f"{task.name}-{recipe.name}") for task in TASKS for recipe in task.recipes]


def table(task: Task) -> Table:
    return split(task.load(None)).train  # type: ignore[arg-type]


def test_the_small_tasks_have_every_recipe_of_the_real_ones() -> None:
    for task in TASKS:
        assert [r.name for r in task.recipes] == [r.name for r in find_tasks()[task.name].recipes]


@pytest.mark.parametrize(("task", "recipe"), RECIPES)
def test_a_recipe_survives_saving_and_answers_the_same(task: Task, recipe: Recipe) -> None:
    rows, columns = table(task), task.row.modalities()
    pipeline = clone(build_pipeline(task, recipe)).fit(frame(rows.rows, columns), rows.truths)
    saved = skops.io.dumps(pipeline)
    again = skops.io.loads(saved, trusted=_trusted(skops.io.get_untrusted_types(data=saved)))
    some = rows.rows[:40]
    answers = predict(again, columns, labels_of(again), some)
    assert answers == predict(pipeline, columns, labels_of(pipeline), some)
    for row, answer in zip(some, answers, strict=True):
        [alone] = predict(again, columns, labels_of(again), [row])
        assert alone.get("label") == answer.get("label")
        assert numbers(alone) == pytest.approx(numbers(answer), abs=TOLERANCE)


def numbers(answer: dict[str, object]) -> list[float]:
    return [answer["value"]] if "value" in answer else list(answer["probabilities"].values())  # type: ignore[attr-defined,list-item]


@pytest.fixture(scope="module")
def tweets() -> object:
    task = TASKS[0]
    rows = table(task)
    return build_pipeline(task, task.recipes[0]).fit(frame(rows.rows, task.row.modalities()), rows.truths)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=8))
def test_any_batch_of_any_texts_gives_what_single_calls_give(tweets: object, texts: list[str]) -> None:
    columns, labels = TASKS[0].row.modalities(), labels_of(tweets)
    together = predict(tweets, columns, labels, [{"text": text} for text in texts])
    for text, answer in zip(texts, together, strict=True):
        [alone] = predict(tweets, columns, labels, [{"text": text}])
        assert alone["label"] == answer["label"]
        assert numbers(alone) == pytest.approx(numbers(answer), abs=TOLERANCE)


def test_an_answer_is_made_of_plain_values(tweets: object) -> None:
    [answer] = predict(tweets, TASKS[0].row.modalities(), labels_of(tweets), [{"text": "love it"}])
    probabilities = answer["probabilities"]
    assert isinstance(probabilities, dict)
    assert answer["score"] == probabilities[answer["label"]] == max(probabilities.values())
    assert sum(probabilities.values()) == pytest.approx(1)
    assert {type(value) for value in probabilities.values()} == {float}


def test_text_features_go_where_texts_are() -> None:
    for task, recipe in ((TASKS[0], Recipe("logreg")), (TASKS[1], Recipe("forest", text="tfidf"))):
        with pytest.raises(UnknownRecipe, match="text features"):
            build_pipeline(task, recipe)


def test_the_seed_stands_among_the_parameters() -> None:
    recipe, seed = check_params(TASKS[1], TASKS[1].recipes[0], {"seed": 7, "max_iter": 5})
    assert (dict(recipe.params), seed) == ({"max_iter": 5}, 7)
    assert build_pipeline(TASKS[1], recipe, seed)[-1].random_state == 7


@pytest.mark.parametrize("params", [{"seed": -1}, {"seed": "x"}, {"seed": True}, {"max_iter": -3}, {"depth": 1}])
def test_wrong_parameters_are_refused(params: dict[str, object]) -> None:
    with pytest.raises(InvalidParams):
        check_params(TASKS[1], TASKS[1].recipes[0], params)


def test_a_gap_is_answered_too() -> None:
    task = TASKS[1]
    rows = table(task)
    pipeline = build_pipeline(task, task.recipes[0]).fit(frame(rows.rows, task.row.modalities()), rows.truths)
    [answer] = predict(pipeline, task.row.modalities(), None, [{**rows.rows[0], "AveBedrms": None}])
    assert np.isfinite(float(str(answer["value"])))
