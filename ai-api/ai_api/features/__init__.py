"""Features of texts, images and tables: transformers before the estimator of a pipeline, found by name.

@text_features("tfidf")      from a sequence of strings, all texts of a row joined and cleaned
def tfidf() -> BaseEstimator: ...

@image_features("pixels")    from a sequence of ImageRef, bytes or None
@table_features("scaled")    from a frame of numbers (NaN for a gap) and categories ("" for a gap), by their names
def scaled(numbers: list[str], categories: list[str]) -> BaseEstimator: ...
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from typing import Literal, TypeVar

from sklearn.base import BaseEstimator

from ai_api.errors import MissingExtra, UnknownRecipe

FeatureBuilder = Callable[..., BaseEstimator]
B = TypeVar("B", bound=FeatureBuilder)
Of = Literal["text", "image", "table"]

_builds: dict[tuple[Of, str], FeatureBuilder] = {}


def _registers(of: Of) -> Callable[[str], Callable[[B], B]]:
    def named(name: str) -> Callable[[B], B]:
        def register(build: B) -> B:
            _builds[of, name] = build
            return build

        return register

    return named


text_features = _registers("text")
image_features = _registers("image")
table_features = _registers("table")


@cache
def _find() -> Mapping[tuple[Of, str], FeatureBuilder]:
    for found in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{found.name}")
    return _builds


def find_features(of: Of) -> dict[str, FeatureBuilder]:
    """Every kind of features of texts, images or tables by name."""
    return {name: build for (kind, name), build in _find().items() if kind == of}


def build_features(of: Of, name: str, *columns: list[str]) -> BaseEstimator:
    """The transformer, unfitted. `columns`, for a table: the names of its numbers and of its categories."""
    known = find_features(of)
    if name not in known:
        raise UnknownRecipe(f"There are no such {of} features. There are {', '.join(sorted(known))}.")
    try:
        return known[name](*columns)
    except ImportError as error:
        raise MissingExtra(f"{name} needs the library {error.name!r}, which is not installed.") from error
