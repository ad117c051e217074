"""The vocabulary of a task: Kind, Modality, Row, Recipe, Task. A task is one file in `tasks/` and uses only these."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from .datasets import Table, is_longer
from .errors import InvalidParams, UnknownRecipe
from .images.reference import ImageRef
from .sources import Source

MAX_TOKENS = 128
"""Most tokens of one text that an encoder reads. It truncates longer texts; weighted n-grams read all of them."""
REST_COST = 16
"""Tokens beyond MAX_TOKENS that count as one: they are split and cleaned, but not encoded."""
IMAGE_COST = 64
PIXELS_PER_TOKEN = 10_000
"""What one image counts in a batch's token budget, besides its pixels, which are decoded."""
EXPANSION = 2
SHORT_TEXT = 2_000
"""A text's normal form (NFKC, case folded) has at most EXPANSION times its characters, or SHORT_TEXT. One character can
become 18."""


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
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("must be valid Unicode, without lone surrogates") from None
    is_plain = text.isascii() and "&" not in text and "\\u" not in text
    if not is_plain and is_longer(text, max(EXPANSION * len(text), SHORT_TEXT)):
        raise ValueError(f"must have a normal form (NFKC) of at most {EXPANSION} times its characters")
    return text


Text = Annotated[str, AfterValidator(_storable)]
"""A string that Postgres can store (jsonb takes neither NUL characters nor lone surrogates) and that does not become
much longer when it is normalised."""


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
        return dict(_modalities(cls))

    @classmethod
    def columns(cls, *modalities: Modality) -> list[str]:
        """The columns of these modalities."""
        return [name for name, found in _modalities(cls).items() if found in modalities]


@cache
def _modalities(row: type[Row]) -> dict[str, Modality]:
    """Derived once for each class: every row that is read needs them."""
    return {name: _modality(info.annotation, info.metadata) for name, info in row.model_fields.items()}


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
        """What a model reads of this row, in tokens: its texts and images, at least 1; a row of numbers counts 1."""
        texts = sum(_text_cost(getattr(row, name)) for name in self.row.columns(Modality.TEXT))
        images = sum(_image_cost(getattr(row, name)) for name in self.row.columns(Modality.IMAGE))
        return max(1, texts + images)


def _text_cost(text: str | None) -> int:
    """About a token for each 4 bytes of UTF-8, as tokenisers split English; other scripts take more tokens a letter."""
    if not text:
        return 0
    tokens = (len(text) if text.isascii() else len(text.encode())) // 4 + 1
    return min(tokens, MAX_TOKENS) + max(0, tokens - MAX_TOKENS) // REST_COST


def _image_cost(image: ImageRef | None) -> int:
    return 0 if image is None else IMAGE_COST + image.pixels // PIXELS_PER_TOKEN
