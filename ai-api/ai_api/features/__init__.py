"""What a pipeline makes of a column before the estimator sees it, found by name.

@text_features("tfidf")
def tfidf() -> BaseEstimator: ...
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache

from sklearn.base import BaseEstimator

from ai_api.errors import MissingExtra, UnknownRecipe

Build = Callable[[], BaseEstimator]

_text: dict[str, Build] = {}


def text_features(name: str) -> Callable[[Build], Build]:
    """Registers the function that makes the text features `name`: from a column of strings to a matrix."""

    def register(build: Build) -> Build:
        _text[name] = build
        return build

    return register


@cache
def find_text_features() -> Mapping[str, Build]:
    """Every kind of text features by name."""
    for found in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{found.name}")
    return _text


def build_text_features(name: str) -> BaseEstimator:
    """The transformer, unfitted."""
    build = find_text_features().get(name)
    if build is None:
        raise UnknownRecipe(f"There are no such text features. There are {', '.join(sorted(find_text_features()))}.")
    try:
        return build()
    except ImportError as error:
        raise MissingExtra(f"{name} needs the library {error.name!r}, which is not installed.") from error
