"""Accuracy over HTTP."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import TypeVar

from data_api.crud.accuracy import BINS, Group, Tally, total

from .base import Moment, Schema


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


K = TypeVar("K", int, str, date)


def summary(task: str, after: Moment, before: Moment, groups: Sequence[Group]) -> Accuracy:
    """Everything that is counted from the groups."""
    labels = sorted({name for group in groups for name in (group.truth, group.label) if name is not None})
    truths, answers = _by(groups, lambda group: group.truth), _by(groups, lambda group: group.label)
    return Accuracy(
        task=task,
        after=after,
        before=before,
        overall=both(groups),
        versions=[
            OfVersion(version=key, **_both(some)) for key, some in _by(groups, lambda group: group.version).items()
        ],
        days=[OfDay(day=key, **_both(some)) for key, some in _by(groups, lambda group: group.day).items()],
        classes=[
            OfClass(label=name, recall=both(truths.get(name, [])), precision=both(answers.get(name, [])))
            for name in labels
        ],
        confusion=_confusion(truths),
        calibration=BothCalibrations(all=_calibration(_of("all", groups)), random=_calibration(_of("random", groups))),
    )


def measure(tally: Tally, labels: bool) -> Measure:
    """What the sums say."""
    rows, weight = tally.rows, tally.weight
    low, high = tally.interval if rows and labels else (None, None)
    return Measure(
        rows=rows,
        accuracy=tally.right / weight if rows and labels else None,
        low=low,
        high=high,
        mean_error=None if labels or not rows else tally.error / weight,
        mean_absolute_error=None if labels or not rows else tally.absolute / weight,
        root_mean_squared_error=None if labels or not rows else math.sqrt(tally.squared / weight),
    )


def both(groups: Sequence[Group]) -> Both:
    """Both kinds of feedback."""
    return Both(**_both(groups))


def _both(groups: Sequence[Group]) -> dict[str, Measure]:
    labels = any(group.truth is not None for group in groups)
    return {"all": measure(total(_of("all", groups)), labels), "random": measure(total(_of("random", groups)), labels)}


def _confusion(truths: dict[str, list[Group]]) -> list[Confusion]:
    cells = []
    everything = total(_of("random", [group for some in truths.values() for group in some])).weight
    for truth, some in truths.items():
        for label, cell in _by(some, lambda group: group.label).items():
            share = total(_of("random", cell)).weight / everything if everything else 0.0
            cells.append(Confusion(truth=truth, label=label, all=total(_of("all", cell)).rows, random=share))
    return cells


def _calibration(groups: Sequence[Group]) -> Calibration:
    scored = _by([group for group in groups if group.truth is not None], lambda group: group.bin)
    bins, gap, weight = [], 0.0, 0.0
    for place, some in scored.items():
        tally = total(some)
        gap, weight = gap + abs(tally.score - tally.right), weight + tally.weight
        bins.append(
            Bin(
                low=(place - 1) / BINS,
                high=place / BINS,
                mean_score=tally.score / tally.weight,
                measure=measure(tally, labels=True),
            )
        )
    return Calibration(bins=bins, error=gap / weight if weight else None)


def _of(kind: str, groups: Iterable[Group]) -> list[Group]:
    return [group for group in groups if group.kind == kind]


def _by(groups: Iterable[Group], key: Callable[[Group], K | None]) -> dict[K, list[Group]]:
    """The groups by a key, in its order; those without are left out."""
    found: dict[K, list[Group]] = {}
    for group in groups:
        if (value := key(group)) is not None:
            found.setdefault(value, []).append(group)
    return {value: found[value] for value in sorted(found)}
