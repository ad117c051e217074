"""Rows refuse what cannot be stored, recipes have names, tasks are found."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import ValidationError

from ai_api.datasets import is_longer, normalise
from ai_api.errors import InvalidParams, UnknownRecipe
from ai_api.evaluation.metrics import METRICS
from ai_api.images.reference import ImageRef
from ai_api.task import IMAGE_COST, MAX_TOKENS, REST_COST, Category, Modality, Recipe, Row, Task, Text
from ai_api.tasks import find_tasks
from ai_api.tasks.housing import House
from ai_api.tasks.products import Product
from ai_api.tasks.tweeteval import Tweet

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


class Everything(Row):
    text: Text
    note: Text | None = None
    number: float | None = None
    whole: Literal[0, 1] = 0
    known: Literal["a", "b"] | None = None
    unknown: Category = "x"
    image: ImageRef | None = None


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


def test_columns_have_a_modality_by_their_type() -> None:
    assert Everything.modalities() == {
        "text": Modality.TEXT,
        "note": Modality.TEXT,
        "number": Modality.NUMBER,
        "whole": Modality.NUMBER,
        "known": Modality.CATEGORY,
        "unknown": Modality.CATEGORY,
        "image": Modality.IMAGE,
    }
    assert Everything.columns(Modality.NUMBER, Modality.IMAGE) == ["number", "whole", "image"]


def test_a_recipe_is_named_after_its_parts() -> None:
    assert (Recipe("logreg", text="tfidf").name, Recipe("forest").name) == ("tfidf+logreg", "forest")
    assert Recipe("logreg", resample="smote").name == "smote+logreg"
    assert Recipe("bert", text="raw", title="bert").name == "bert"


def test_a_recipe_is_found_by_name() -> None:
    task = find_tasks()["tweets"]
    assert task.recipe("minilm+logreg") is task.recipes[1]
    with pytest.raises(UnknownRecipe, match="tfidf\\+logreg"):
        task.recipe("tfidf+oracle")


@pytest.mark.parametrize("task", find_tasks().values(), ids=lambda task: task.name)
def test_a_task_has_a_description_and_its_recipes_have_unique_names(task: Task) -> None:
    names = [recipe.name for recipe in task.recipes]
    assert len(set(names)) == len(names)
    assert task.recipes[0].is_default, "the first trains the starter"
    assert task.metric in METRICS
    assert set(task.metrics) <= set(METRICS)
    assert task.about
    assert task.licence


def test_parameters_replace_those_of_the_recipe() -> None:
    recipe = Recipe("forest", params={"a": 1, "b": 1}).with_params({"b": 2})
    assert dict(recipe.params) == {"a": 1, "b": 2}
    with pytest.raises(InvalidParams):
        recipe.with_params({"not a name": 1})


def test_a_long_text_costs_more_and_less_beyond_the_length_that_is_encoded() -> None:
    task = find_tasks()["tweets"]
    costs = [task.cost(Tweet(text="x" * length)) for length in (1, 40, 508, 2_000)]
    assert costs == [1, 11, MAX_TOKENS, MAX_TOKENS + (501 - MAX_TOKENS) // REST_COST]
    assert task.cost(Tweet(text="語" * 40)) == 31, "other scripts have fewer letters a token"
    assert find_tasks()["housing"].cost(HOUSE) == 1


@pytest.mark.parametrize(
    "text",
    ["\ufdfa" * 500, "&#xfdfa;" * 300, "\\ufdfa" * 300, "\u0390" * 2_000, "a" * 100 + "\ufdfa" * 1_000],
)
def test_a_text_that_becomes_much_longer_when_it_is_normalised_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="must have a normal form"):
        Everything(text=text)


@pytest.mark.parametrize(
    "text", ["\ufdfa" * 100, "peace \ufdfa be upon you " * 100, "…" * 600, "a\u0301" * 5_000, "&amp;" * 9_000]
)
def test_a_text_that_becomes_a_little_longer_or_is_short_is_accepted(text: str) -> None:
    assert Everything(text=text).text == text


@pytest.mark.parametrize(
    "text", ["late again", "\ufdfa x", "&eacute;&#xfdfa;", "\\u2019", "a" * 900 + "é", "ΐ" * 1_200]
)
def test_a_text_is_as_long_as_its_normal_form(text: str) -> None:
    length = len(normalise(text))
    assert is_longer(text, length - 1)
    assert not is_longer(text, length)


def test_the_pixels_of_an_image_add_to_its_cost() -> None:
    task, row = find_tasks()["products"], Product(designation="x" * 40)
    image = ImageRef.of_bytes(b"", pixels=25_000_000)
    assert task.cost(row.model_copy(update={"image": image})) == 11 + IMAGE_COST + 2_500


def test_an_image_costs_as_much_as_many_words() -> None:
    task, row = find_tasks()["products"], Product(designation="x" * 40)
    assert task.cost(row) == 11
    assert task.cost(row.model_copy(update={"image": ImageRef.of_bytes(b"")})) == 11 + IMAGE_COST
