"""Accuracy over HTTP."""

from __future__ import annotations

from datetime import date

from data_api.schemas.base import Moment, Schema


class Measure(Schema):
    """How right some answers were. Of labels: the share that was right, with its 95 % interval (Wilson). Of numbers:
    the mean error (answer less truth), the mean absolute error, the root of the mean squared error. Null: not known.
    """

    rows: int
    accuracy: float | None
    low: float | None
    high: float | None
    mean_error: float | None
    mean_absolute_error: float | None
    root_mean_squared_error: float | None


class Both(Schema):
    """`all`: over everything with feedback, and people correct what they notice. `random`: over what chance chose."""

    all: Measure
    random: Measure


class OfVersion(Both):
    """One version."""

    version: int


class OfDay(Both):
    """One UTC day, by the time of the predictions."""

    day: date


class OfClass(Schema):
    """One label. `recall`: of what is so, how much was called so. `precision`: of what was called so, how much is."""

    label: str
    recall: Both
    precision: Both


class Confusion(Schema):
    """How many were called `label` and are `truth`: rows with feedback, and the share of those that chance chose."""

    truth: str
    label: str
    all: int
    random: float


class Bin(Schema):
    """Answers whose score is from `low` to `high`. Well calibrated: the accuracy is the mean score."""

    low: float
    high: float
    mean_score: float | None
    measure: Measure


class Calibration(Schema):
    """Scores against accuracy, and how far they lie apart on average (expected calibration error)."""

    bins: list[Bin]
    error: float | None


class BothCalibrations(Schema):
    """As in every measure."""

    all: Calibration
    random: Calibration


class Accuracy(Schema):
    """How right the answers of a task were, for predictions made from `after` until `before` whose truth is known."""

    task: str
    after: Moment
    before: Moment
    overall: Both
    versions: list[OfVersion]
    days: list[OfDay]
    classes: list[OfClass]
    confusion: list[Confusion]
    calibration: BothCalibrations
