"""The last step of a recipe, found by name. A function builds it: any object with scikit-learn's `fit` and `predict`.

    @estimator("naive-bayes", kinds=[Kind.CLASSIFICATION])
    def naive_bayes(**params: object) -> MultinomialNB:
        \"\"\"Word counts, fast, and good on short texts.\"\"\"
        return MultinomialNB(**params)

Heavy imports stay inside the function. Two kinds may share a name. A parameter called `random_state` gets the seed.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from sklearn.base import BaseEstimator

from ai_api.errors import InvalidParams, MissingExtra, UnknownRecipe
from ai_api.task import Kind

if TYPE_CHECKING:
    from optuna import Trial

EstimatorBuilder = Callable[..., BaseEstimator]
Space = Callable[["Trial"], dict[str, object]]
"""One point of an estimator's search space: parameters suggested by an Optuna trial."""
B = TypeVar("B", bound=EstimatorBuilder)


@dataclass(frozen=True)
class Entry:
    """The builder of an estimator, its table features unless a recipe names others, and its search space."""

    build: EstimatorBuilder
    table: str
    space: Space | None


_entries: dict[tuple[str, Kind], Entry] = {}


def estimator(name: str, kinds: Iterable[Kind], table: str = "plain", space: Space | None = None) -> Callable[[B], B]:
    """Registers the function that makes the estimator `name` for these kinds of task."""

    def register(build: B) -> B:
        _entries.update({(name, kind): Entry(build, table, space) for kind in kinds})
        return build

    return register


@cache
def find_estimators() -> Mapping[tuple[str, Kind], Entry]:
    """Every estimator by name and kind."""
    for found in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{found.name}")
    return _entries


def find_estimator(name: str, kind: Kind) -> Entry:
    """The entry, or UnknownRecipe with the known names."""
    entry = find_estimators().get((name, kind))
    if entry is None:
        known = sorted(known for known, of in find_estimators() if of is kind)
        raise UnknownRecipe(f"There is no such estimator for a {kind}. There are {', '.join(known)}.")
    return entry


def build_estimator(name: str, kind: Kind, params: Mapping[str, object], seed: int = 0) -> BaseEstimator:
    """The estimator, unfitted, its parameters checked before any data is read."""
    build = find_estimator(name, kind).build
    try:
        made = build(**params)
        seeds = {
            key: seed for key in made.get_params() if key.rpartition("__")[2] == "random_state" and key not in params
        }
        made.set_params(**seeds)
        if hasattr(made, "_validate_params"):
            made._validate_params()
    except ImportError as error:
        raise MissingExtra(f"{name} needs the library {error.name!r}, which is not installed.") from error
    except ValueError as error:  # scikit-learn's message ends with the value, which our errors never contain
        raise InvalidParams(f"{name}: {str(error).partition(' Got ')[0]}") from error
    except TypeError as error:
        raise InvalidParams(f"{name} takes these parameters: {', '.join(sorted(build().get_params()))}.") from error
    return made
