"""The words: rows refuse what cannot be stored, recipes have names, tasks are found."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ai_api.errors import InvalidParams, UnknownRecipe
from ai_api.task import MAX_TOKENS, Modality, Recipe, Row, Text
from ai_api.tasks import find_tasks
from ai_api.tasks.housing import House
from ai_api.tasks.tweets import Tweet

HOUSE = House.model_validate(
    {
        "MedInc": 8.3,
        "HouseAge": 41,
        "AveRooms": 7,
        "Population": 322,
        "AveOccup": 2.5,
        "Latitude": 37.9,
        "Longitude": -122.2,
    }
)


class Both(Row):
    text: Text
    note: Text | None = None
    number: float | None = None


def test_every_task_is_found_under_its_name() -> None:
    tasks = find_tasks()
    assert {"tweets", "housing"} <= set(tasks)
    assert all(name == task.name for name, task in tasks.items())


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b", ""])
def test_a_text_that_cannot_be_stored_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Tweet.model_validate({"text": text})


@pytest.mark.parametrize("wrong", [{"MedInc": float("nan")}, {"MedInc": float("inf")}, {"MedInc": None}, {"More": 1}])
def test_a_number_must_be_one_and_only_known_fields_count(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        House.model_validate({**HOUSE.model_dump(), **wrong})


def test_unknown_bedrooms_are_allowed() -> None:
    assert HOUSE.AveBedrms is None


def test_columns_are_told_apart_by_what_they_hold() -> None:
    assert Both.modalities() == {"text": Modality.TEXT, "note": Modality.TEXT, "number": Modality.NUMBER}
    assert Both.columns(Modality.NUMBER) == ["number"]


def test_a_recipe_is_named_after_its_parts() -> None:
    assert (Recipe("logreg", text="tfidf").name, Recipe("forest").name) == ("tfidf+logreg", "forest")


def test_a_recipe_is_found_by_name() -> None:
    task = find_tasks()["tweets"]
    assert task.recipe("minilm+logreg") is task.recipes[1]
    with pytest.raises(UnknownRecipe, match="tfidf\\+logreg"):
        task.recipe("glove+xgboost")


def test_parameters_replace_those_of_the_recipe() -> None:
    recipe = Recipe("forest", params={"a": 1, "b": 1}).with_params({"b": 2})
    assert dict(recipe.params) == {"a": 1, "b": 2}
    with pytest.raises(InvalidParams):
        recipe.with_params({"not a name": 1})


def test_a_long_text_costs_more_up_to_the_length_that_is_read() -> None:
    task = find_tasks()["tweets"]
    costs = [task.cost(Tweet(text="x" * length)) for length in (1, 40, 2_000)]
    assert costs == [1, 11, MAX_TOKENS]
    assert find_tasks()["housing"].cost(HOUSE) == 1
