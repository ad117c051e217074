"""The words: Kind, Row, Recipe, Task. A task is one file in `tasks/`; everything else follows from these four."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict

from .datasets import Source, Table
from .errors import InvalidParams, UnknownRecipe

MAX_TOKENS = 128
"""Tokens of one text that a model reads; the rest is cut off."""


class Kind(StrEnum):
    """What an answer is: one of a version's labels, or a number."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


class Modality(StrEnum):
    """What a column holds, told from its type in the row: this is how a pipeline knows which features to make of it."""

    TEXT = "text"
    NUMBER = "number"


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain NUL characters")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise ValueError("must be valid Unicode, without lone surrogates")
    return text


Text = Annotated[str, AfterValidator(_storable)]
"""A string that Postgres can keep: jsonb takes neither NUL characters nor lone surrogates."""


class Row(BaseModel):
    """One input: the schema of the request, the columns of the data set, the map of the features."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def modalities(cls) -> dict[str, Modality]:
        """What each column holds, in the order in which the class names them."""
        return {name: _modality(info.annotation) for name, info in cls.model_fields.items()}

    @classmethod
    def columns(cls, modality: Modality) -> list[str]:
        """The columns of one modality."""
        return [name for name, found in cls.modalities().items() if found is modality]


def _modality(annotation: object) -> Modality:
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return Modality.TEXT if annotation is str else Modality.NUMBER


@dataclass(frozen=True)
class Recipe:
    """Which features and which estimator. Its name is what people type: `tfidf+logreg`, or just `forest`."""

    estimator: str
    text: str | None = None
    params: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.text}+{self.estimator}" if self.text else self.estimator

    def with_params(self, params: Mapping[str, object]) -> Recipe:
        """The same recipe with some of its estimator's parameters replaced."""
        if not all(name.isidentifier() for name in params):
            raise InvalidParams("The name of a parameter is made of letters, digits and underscores.")
        return Recipe(self.estimator, self.text, {**self.params, **params})


def _same_row(row: dict[str, object], _: int) -> dict[str, object]:
    return row


@dataclass(frozen=True)
class Task:
    """A problem: its row, kind, data, metric, margin and recipes (the first trains the starter).

    `margin` is in the units of `metric`: how much worse than the champion a new version may look, at the lower end of
    its interval, and still count as not worse. `upgrade` turns a row of an older `row_version` into one of today's.
    """

    name: str
    kind: Kind
    row: type[Row]
    metric: str
    margin: float
    load: Callable[[Source], Table]
    recipes: tuple[Recipe, ...]
    row_version: int = 1
    upgrade: Callable[[dict[str, object], int], dict[str, object]] = _same_row

    def recipe(self, name: str) -> Recipe:
        for recipe in self.recipes:
            if recipe.name == name:
                return recipe
        raise UnknownRecipe(f"{self.name} has no such recipe. It has {', '.join(r.name for r in self.recipes)}.")

    def cost(self, row: Row) -> int:
        """About the tokens that a model reads of this row, at least one. Numbers cost one."""
        texts = (getattr(row, name) or "" for name in self.row.columns(Modality.TEXT))
        return max(1, sum(min(len(text) // 4 + 1, MAX_TOKENS) for text in texts))
