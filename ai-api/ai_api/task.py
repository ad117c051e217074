"""The words: Kind, Modality, Row, Recipe, Task. A task is one file in `tasks/`; everything else follows from these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict

from .datasets import Table
from .errors import InvalidParams, UnknownRecipe
from .images import ImageRef
from .sources import Source

MAX_TOKENS = 128
"""Tokens of one text that a model reads; the rest is cut off."""
IMAGE_COST = 64
"""What looking at one picture counts in a batch's budget, in tokens of text."""


class Kind(StrEnum):
    """What an answer is: one of a version's labels, or a number."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


class Modality(StrEnum):
    """What a column holds, told from its type in the row: this is how a pipeline knows which features to make of it."""

    TEXT = "text"
    NUMBER = "number"
    CATEGORY = "category"
    IMAGE = "image"


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain NUL characters")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise ValueError("must be valid Unicode, without lone surrogates")
    return text


Text = Annotated[str, AfterValidator(_storable)]
"""A string that Postgres can keep: jsonb takes neither NUL characters nor lone surrogates."""

Category = Annotated[str, AfterValidator(_storable), Modality.CATEGORY]
"""One of some names that are not all known beforehand. Where they are, `Literal["a", "b"]` is a category too."""


class Row(BaseModel):
    """One input: the schema of the request, the columns of the data set, the map of the features."""

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
    told = next((found for found in metadata if isinstance(found, Modality)), None)
    return told or {str: Modality.TEXT, ImageRef: Modality.IMAGE}.get(annotation, Modality.NUMBER)  # type: ignore[call-overload]


@dataclass(frozen=True)
class Recipe:
    """Which features and which estimator. Its name is what people type: `tfidf+logreg`, or just `forest`.

    `text`, `image` and `table` name features; `table` (numbers and categories) is the estimator's own choice when None,
    and texts or images are left out of it. `augment` and `resample` name steps that change the training rows only.
    `members` are the recipes that a fusion joins. `tune`: trials of a search over the estimator's space, on the
    training part. `title` replaces the name. `is_default`: whether `train --all` trains it.
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
        parts = (self.text, self.image, self.table, self.augment, self.resample, self.estimator)
        return self.title or "+".join(part for part in parts if part)

    def with_params(self, params: Mapping[str, object]) -> Recipe:
        """The same recipe with some of its parameters replaced."""
        if not all(name.isidentifier() for name in params):
            raise InvalidParams("The name of a parameter is made of letters, digits and underscores.")
        return replace(self, params={**self.params, **params}, title=self.name)


@dataclass(frozen=True)
class Costs:
    """What a wrong answer costs, in the same unit: a `positive` row that was missed, and a false alarm."""

    missed: float
    false_alarm: float
    unit: str


@dataclass(frozen=True)
class Published:
    """A figure that somebody published for this problem, and on which rows; for the table of results."""

    who: str
    metric: str
    value: float
    rows: str


def _same_row(row: dict[str, object], _: int) -> dict[str, object]:
    return row


@dataclass(frozen=True)
class Task:
    """A problem: its row, kind, data, metric, margin and recipes (the first trains the starter).

    `margin` is in the units of `metric`: how much worse than the champion a new version may look, at the lower end of
    its interval, and still count as not worse. `metrics` are reported beside `metric`. `upgrade` turns a row of an
    older `row_version` into one of today's.

    For a yes-or-no task, `positive` is the label that is looked for, and `costs`, when given, chooses the threshold on
    its probability, under the real shares of the labels (`Table.weights`).
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
        for recipe in self.recipes:
            if recipe.name == name:
                return recipe
        raise UnknownRecipe(f"{self.name} has no such recipe. It has {', '.join(r.name for r in self.recipes)}.")

    def cost(self, row: Row) -> int:
        """About the tokens that a model reads of this row, at least one. Numbers cost one."""
        texts = (getattr(row, name) or "" for name in self.row.columns(Modality.TEXT))
        images = sum(getattr(row, name) is not None for name in self.row.columns(Modality.IMAGE))
        return max(1, IMAGE_COST * images + sum(min(len(text) // 4 + 1, MAX_TOKENS) for text in texts if text))
