"""Bodies of the accuracy."""

from __future__ import annotations

from datetime import date

from data_api.schemas.base import Moment, Schema


class Measure(Schema):
    """Quality of some predictions. Of labels: the share that was right, with its 95 % interval (Wilson). Of numbers:
    the mean error (prediction less truth), the mean absolute error, the root of the mean squared error. Null: not
    known; `reason` says why if the errors cannot be summed.
    """

    rows: int
    accuracy: float | None
    low: float | None
    high: float | None
    mean_error: float | None
    mean_absolute_error: float | None
    root_mean_squared_error: float | None
    reason: str | None


class Both(Schema):
    """`all`: over all predictions with feedback; it is biased, as people correct what they notice. `random`: over the
    random share.
    """

    all: Measure
    random: Measure


class OfVersion(Both):
    """The measures of one version. `run_id` is its MLflow run, since a registered model that was deleted and made anew
    gives the same numbers again; null for predictions stored before ai-api sent it, if there are several runs.
    """

    version: int
    run_id: str | None


class OfDay(Both):
    """The measures of one UTC day, by the time of the predictions."""

    day: date


class OfClass(Schema):
    """One label. `recall`: share of the rows with this true label that were predicted so. `precision`: share of the
    rows predicted so for which it is true.
    """

    label: str
    recall: Both
    precision: Both


class Confusion(Schema):
    """Rows predicted as `label` whose true label is `truth`: how many with feedback, and which share of the random
    share.
    """

    truth: str
    label: str
    all: int
    random: float


class Bin(Schema):
    """Predictions whose score is from `low` to `high`. If they are well calibrated, the accuracy is the mean score."""

    low: float
    high: float
    mean_score: float | None
    measure: Measure


class Calibration(Schema):
    """Mean score and accuracy by bin, and their mean difference (expected calibration error)."""

    bins: list[Bin]
    error: float | None


class BothCalibrations(Schema):
    """The calibration over all predictions with feedback and over the random share."""

    all: Calibration
    random: Calibration


class Accuracy(Schema):
    """Accuracy of a task, over predictions made from `after` until `before` whose truth is known."""

    task: str
    after: Moment
    before: Moment
    overall: Both
    versions: list[OfVersion]
    days: list[OfDay]
    classes: list[OfClass]
    confusion: list[Confusion]
    calibration: BothCalibrations
