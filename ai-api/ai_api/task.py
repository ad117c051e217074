"""The vocabulary of a task: Kind, Modality, Row, Recipe, Task. A task is one file in `tasks/` and uses only these."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from .datasets import Table
from .errors import InvalidParams, UnknownRecipe
from .images.reference import ImageRef
from .sources import Source

MAX_TOKENS = 128
"""Most tokens of one text that a model reads; longer texts are truncated."""
IMAGE_COST = 64
"""What one image counts in a batch's token budget."""


class Kind(StrEnum):
    """What a prediction is: one of a version's labels, or a number."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


class Modality(StrEnum):
    """What a column holds, derived from its type in the row. A pipeline chooses its features by it."""

    TEXT = "text"
    NUMBER = "number"
    CATEGORY = "category"
    IMAGE = "image"


CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain NUL characters")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise ValueError("must be valid Unicode, without lone surrogates")
    return text


Text = Annotated[str, AfterValidator(_storable)]
"""A string that Postgres can store: jsonb takes neither NUL characters nor lone surrogates."""


def _as_name(text: str) -> str:
    if not text.isprintable() and CONTROL.search(text):
        raise ValueError("must not contain control characters")
    if text.isspace():
        raise ValueError("must not be blank")
    return text


LabelName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_storable), AfterValidator(_as_name)]
"""A label as data-api stores it: its schema `Name` has the same rule."""

Category = Annotated[str, AfterValidator(_storable), Modality.CATEGORY]
"""One of some names that are not all known in advance. If they are, `Literal["a", "b"]` is a category too."""


class Row(BaseModel):
    """One input: the schema of a request, the columns of the data set and of the features."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def modalities(cls) -> dict[str, Modality]:
        """What each column holds, in the order in which the class names them."""
        return {name: _modality(info.annotation, info.metadata) for name, info in cls.model_fields.items()}

    @classmethod
    def columns(cls, *modalities: Modality) -> list[str]:
        """The columns of these modalities."""
        return [name for name, found in cls.modalities().items() if found in modalities]


def _modality(annotation: object, metadata: list[object]) -> Modality:
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        metadata = [*metadata, *more]
    if get_origin(annotation) is Literal:
        return Modality.CATEGORY if all(isinstance(value, str) for value in get_args(annotation)) else Modality.NUMBER
    stated = next((entry for entry in metadata if isinstance(entry, Modality)), None)
    return stated or {str: Modality.TEXT, ImageRef: Modality.IMAGE}.get(annotation, Modality.NUMBER)  # type: ignore[call-overload]


@dataclass(frozen=True)
class Recipe:
    """Which features and which estimator. Its name, such as `tfidf+logreg` or `forest`, is used in calls and commands.

    `text`, `image` and `table` name the features of texts, of images, and of numbers and categories. If `table` is
    None, the estimator chooses its features of numbers and categories. `augment` and `resample` name steps that change
    the training rows only. `members` are the recipes that a fusion combines. `tune`: trials of a search over the
    estimator's space, on the training rows. `title` replaces the name. `is_default`: whether `train --all` trains it.
    """

    estimator: str
    text: str | None = None
    image: str | None = None
    table: str | None = None
    augment: str | None = None
    resample: str | None = None
    members: tuple[Recipe, ...] = ()
    params: Mapping[str, object] = field(default_factory=dict)
    tune: int = 0
    title: str | None = None
    is_default: bool = True

    @property
    def name(self) -> str:
        """Its parts joined by `+`, or its title."""
        parts = (self.text, self.image, self.table, self.augment, self.resample, self.estimator)
        return self.title or "+".join(part for part in parts if part)

    def with_params(self, params: Mapping[str, object]) -> Recipe:
        """The same recipe with some of its parameters replaced."""
        if not all(name.isidentifier() for name in params):
            raise InvalidParams("The name of a parameter is made of letters, digits and underscores.")
        return replace(self, params={**self.params, **params}, title=self.name)


@dataclass(frozen=True)
class Costs:
    """The costs of errors of a binary task, in one unit: of a missed `positive` row and of a false alarm."""

    missed: float
    false_alarm: float
    unit: str


@dataclass(frozen=True)
class Published:
    """A published metric for this problem: its source, and the rows it was measured on. For the page of results."""

    source: str
    metric: str
    value: float
    rows: str


def _same_row(row: dict[str, object], _: int) -> dict[str, object]:
    return row


@dataclass(frozen=True)
class Task:
    """A problem: its row, kind, data, metric, margin and recipes (the first trains the starter).

    `margin`, in the unit of `metric`, is the non-inferiority margin of the gate: the lower end of the interval of the
    difference to the champion must lie above minus `margin`. `metrics` are reported beside `metric`. `upgrade` turns a
    row of an older `row_version` into one of the present version.

    For a binary task, `positive` is the label to detect. With `costs`, a threshold on its probability is chosen, under
    the real shares of the labels (`Table.weights`).
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
    metrics: tuple[str, ...] = ()
    positive: str | None = None
    costs: Costs | None = None
    about: str = ""
    licence: str = ""
    published: tuple[Published, ...] = ()

    def recipe(self, name: str) -> Recipe:
        """The recipe of this name, or UnknownRecipe."""
        for recipe in self.recipes:
            if recipe.name == name:
                return recipe
        raise UnknownRecipe(f"{self.name} has no such recipe. It has {', '.join(r.name for r in self.recipes)}.")

    def cost(self, row: Row) -> int:
        """The approximate number of tokens that a model reads of this row, at least 1; a row of numbers counts 1."""
        texts = (getattr(row, name) or "" for name in self.row.columns(Modality.TEXT))
        images = sum(getattr(row, name) is not None for name in self.row.columns(Modality.IMAGE))
        return max(1, IMAGE_COST * images + sum(min(len(text) // 4 + 1, MAX_TOKENS) for text in texts if text))
