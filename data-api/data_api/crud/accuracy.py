"""How right the answers were, counted from the word that counts on each prediction.

People correct what they notice, so everything is counted twice: over all predictions with feedback, and over those of
the random share, each with the weight of as many predictions as it stands for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Integer, Text, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import BIT
from sqlalchemy.orm import Session

from data_api import metrics
from data_api.database import Database
from data_api.ids import EPOCH, floor
from data_api.models import Example, Sample

from . import example

Kind = Literal["all", "random"]

Z = 1.959963984540054
"""Of a 95 % interval."""
COLUMNS = (
    Example.prediction_id, Example.version, Example.label, Example.value,
    Example.answer_label, Example.answer_score, Example.answer_value,
)  # fmt: skip
"""Without the row, which nothing here looks at."""
BINS = 10
"""Of the scores, for the calibration."""


@dataclass(frozen=True)
class Tally:
    """Sums over some predictions, weighted."""

    rows: int = 0
    weight: float = 0.0
    squares: float = 0.0
    """Of the weights."""
    right: float = 0.0
    score: float = 0.0
    error: float = 0.0
    absolute: float = 0.0
    squared: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        mine, theirs = vars(self), vars(other)
        return Tally(**{name: mine[name] + theirs[name] for name in mine})

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, of the share that was right. Unequal weights count as the fewer rows that would be as sure."""
        return wilson(self.right / self.weight, self.weight**2 / self.squares)


@dataclass(frozen=True)
class Group:
    """Predictions that are alike: one version, one UTC day, one truth, one answer, one bin of scores."""

    kind: Kind
    version: int
    day: date
    truth: str | None
    label: str | None
    bin: int | None
    """None: the answer has no score."""
    tally: Tally


def wilson(share: float, rows: float) -> tuple[float, float]:
    """The interval that holds the true share 95 times in 100."""
    spread = Z * math.sqrt(share * (1 - share) / rows + Z**2 / (4 * rows**2))
    middle, stretch = share + Z**2 / (2 * rows), 1 + Z**2 / rows
    return max(0.0, (middle - spread) / stretch), min(1.0, (middle + spread) / stretch)


def groups(
    session: Session,
    task: str,
    after: datetime,
    before: datetime,
    version: int | None = None,
    label: str | None = None,
) -> Iterator[Group]:
    """The predictions made from `after` until `before` whose truth is known (and is `label`), in groups."""
    words = example.latest(task).where(
        Example.prediction_id >= floor(after), Example.prediction_id < floor(before), Example.version.is_not(None)
    )
    known = words.with_only_columns(*COLUMNS).subquery().c
    error = known.answer_value - known.value
    is_right = cast(known.label == known.answer_label, Integer)
    score_bin = func.least(func.width_bucket(known.answer_score, 0, 1, BINS), BINS)
    keys = (known.version, _day(known.prediction_id), known.label, known.answer_label, score_bin)
    weights: dict[Kind, ColumnElement[Any]] = {
        "all": literal_column("1.0"),
        "random": literal_column("1.0") / Sample.probability,
    }
    for kind, weight in weights.items():
        sums = (weight, weight * weight, weight * is_right, weight * known.answer_score)
        errors = (weight * error, weight * func.abs(error), weight * error * error)
        query = select(*keys, func.count(), *(func.coalesce(func.sum(one), 0.0) for one in (*sums, *errors)))
        if kind == "random":
            query = query.join(Sample, Sample.prediction_id == known.prediction_id)
        if version is not None:
            query = query.where(known.version == version)
        if label is not None:
            query = query.where(known.label == label)
        for found_version, day, truth, answer, place, rows, *found in session.execute(query.group_by(*keys)):
            moment = (EPOCH + timedelta(days=day)).date()
            tally = Tally(rows, *map(float, found))
            yield Group(kind, found_version, moment, truth, answer, place, tally)


def recent(database: Database, days: int = 7) -> list[metrics.Accuracy]:
    """Every task's versions over the predictions of the last days, for a gauge."""
    now = datetime.now(UTC)
    found: list[metrics.Accuracy] = []
    with database.session() as session:
        for task in tasks(session):
            tallies: dict[tuple[int, Kind, bool], Tally] = {}
            for group in groups(session, task, now - timedelta(days=days), now):
                key = (group.version, group.kind, group.truth is not None)
                tallies[key] = tallies.get(key, Tally()) + group.tally
            found += [_gauge(task, *key, tally) for key, tally in tallies.items()]
    return found


def _gauge(task: str, version: int, kind: Kind, labels: bool, tally: Tally) -> metrics.Accuracy:
    if not labels:
        return metrics.Accuracy(task, version, kind, tally.rows, None, None, None, tally.absolute / tally.weight)
    low, high = tally.interval
    return metrics.Accuracy(task, version, kind, tally.rows, tally.right / tally.weight, low, high, None)


def tasks(session: Session) -> list[str]:
    """Those with feedback that counts, found by one look into the index per task."""
    found: list[str] = []
    query = select(Example.task).order_by(Example.task).limit(1)
    task = session.scalar(query)
    while task is not None:
        found.append(task)
        task = session.scalar(query.where(Example.task > task))
    return found


def total(groups: Iterable[Group]) -> Tally:
    """All of them together."""
    return sum((group.tally for group in groups), Tally())


def _day(prediction_id: ColumnElement[UUID]) -> ColumnElement[int]:
    """Days since 1970 of a prediction, from the first 48 bits of its id, its milliseconds."""
    milliseconds = func.translate(func.left(cast(prediction_id, Text), 13), "-", "")
    return cast(cast(func.concat("x", milliseconds), BIT(48)), BigInteger).op("/")(86_400_000)
