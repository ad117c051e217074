"""Steps that change the training rows only: augmentation before the features, resampling after them. Found by name.

A sampler has imbalanced-learn's `fit_resample`. Its pipeline calls it in `fit` and never in `predict`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from sklearn.base import BaseEstimator

from ai_api.datasets import Truths
from ai_api.errors import MissingExtra, UnknownRecipe

from .augmentation import ChangedWords

UNEVEN = 10
"""Largest ratio of the counts of two labels after resampling."""


def words(seed: int) -> BaseEstimator:
    """A copy of every row in which words are left out or swapped (Wei & Zou, EMNLP 2019)."""
    return ChangedWords(random_state=seed)


def smote(seed: int) -> BaseEstimator:
    """Synthetic rows between neighbouring rows of a rare label (Chawla et al., JAIR 2002), to a tenth of the commonest.

    It needs numbers without gaps: `scaled` features.
    """
    from imblearn.over_sampling import SMOTE

    return SMOTE(sampling_strategy=at_least, random_state=seed)


def undersample(seed: int) -> BaseEstimator:
    """A random part of the common labels: at most ten rows for each row of the rarest label."""
    from imblearn.under_sampling import RandomUnderSampler

    return RandomUnderSampler(sampling_strategy=at_most, random_state=seed)


def at_least(truths: Truths) -> dict[object, int]:
    """Number of rows that each rare label is brought up to."""
    counts = Counter(truths.tolist())
    least = math.ceil(max(counts.values()) / UNEVEN)
    return {label: least for label, count in counts.items() if count < least}


def at_most(truths: Truths) -> dict[object, int]:
    """Number of rows that each common label is cut down to."""
    counts = Counter(truths.tolist())
    most = min(counts.values()) * UNEVEN
    return {label: most for label, count in counts.items() if count > most}


SAMPLERS: dict[str, dict[str, Callable[[int], BaseEstimator]]] = {
    "augment": {"words": words},
    "resample": {"smote": smote, "undersample": undersample},
}


def build_sampler(step: str, name: str, seed: int) -> BaseEstimator:
    """The sampler of a step, unfitted."""
    known = SAMPLERS[step]
    if name not in known:
        raise UnknownRecipe(f"There is no such way to {step}. There are {', '.join(sorted(known))}.")
    try:
        return known[name](seed)
    except ImportError as error:
        raise MissingExtra(f"{name} needs the library {error.name!r}, which is not installed.") from error
