"""Weighted counts of predictions whose truth is known, and Wilson's interval of their accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Literal

Population = Literal["all", "random"]
"""`all`: every prediction with feedback. `random`: those of the random share, weighted by 1 / their probability."""

Z = 1.959963984540054
"""Standard normal quantile of a two-sided 95 % interval."""
SCORE_BINS = 10
"""Number of equal-width bins of the scores in [0, 1], for the calibration."""


@dataclass(frozen=True)
class Tally:
    """Weighted sums over some predictions."""

    rows: int = 0
    weight: float = 0.0
    squares: float = 0.0
    """Sum of the squared weights."""
    right: float = 0.0
    """Weight of the rows whose predicted label is the true one."""
    score: float = 0.0
    error: float = 0.0
    """Sum of predicted value less true value; `absolute` and `squared` are the sums of |error| and error²."""
    absolute: float = 0.0
    squared: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        mine, theirs = vars(self), vars(other)
        return Tally(**{name: mine[name] + theirs[name] for name in mine})

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy, over the effective sample size (Kish): weight² / sum of squares."""
        return wilson(self.right / self.weight, self.weight**2 / self.squares)


@dataclass(frozen=True)
class Group:
    """Predictions of one version, one UTC day, one true label, one predicted label and one bin of scores."""

    population: Population
    version: int
    run_id: str | None
    """The MLflow run of the version: its number may be that of another one, if the registered model was made anew."""
    day: date
    truth: str | None
    label: str | None
    bin: int | None
    """From 1 to `SCORE_BINS`. None: the prediction has no score."""
    tally: Tally


def wilson(share: float, rows: float) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927), cut to [0, 1]."""
    spread = Z * math.sqrt(share * (1 - share) / rows + Z**2 / (4 * rows**2))
    middle, stretch = share + Z**2 / (2 * rows), 1 + Z**2 / rows
    return max(0.0, (middle - spread) / stretch), min(1.0, (middle + spread) / stretch)


def total(groups: Iterable[Group]) -> Tally:
    """The sum of the groups' tallies."""
    return sum((group.tally for group in groups), Tally())
