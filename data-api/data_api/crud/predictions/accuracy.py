"""Groups of predictions whose truth is known, for the accuracy.

The truth of a prediction is the correction that counts for it (`correction.latest`). People correct what they notice,
so every group is counted twice: over all predictions with feedback, and over those of the random share, each with the
weight of as many predictions as it represents.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Integer, Select, Text, case, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import BIT
from sqlalchemy.orm import Session

from data_api.ids import EPOCH, floor
from data_api.models.predictions.example import Example
from data_api.models.predictions.labelling import Sample
from data_api.tally import SCORE_BINS, Group, Population, Tally

from . import correction

COLUMNS = (
    Example.prediction_id, Example.version, Example.run_id, Example.label, Example.value,
    Example.answer_label, Example.answer_score, Example.answer_value,
)  # fmt: skip
"""All that is counted; the rows themselves are not read."""
WEIGHTS: dict[Population, ColumnElement[Any]] = {
    "all": literal_column("1.0"),
    "random": literal_column("1.0") / Sample.probability,
}
LARGEST: ColumnElement[float] = literal_column("1e100::float8")
SMALLEST: ColumnElement[float] = literal_column("1e-100::float8")
"""Sizes between which the square of an error, and a sum of squares, is a finite number above 0. Postgres raises an
error for a finite sum or product that overflows or underflows, but not for arithmetic with infinity.
"""
INFINITY: ColumnElement[float] = literal_column("'Infinity'::float8")
ZERO: ColumnElement[float] = literal_column("0::float8")


def groups(
    session: Session,
    task: str,
    after: datetime,
    before: datetime,
    version: int | None = None,
    label: str | None = None,
) -> Iterator[Group]:
    """Groups of the predictions made in [after, before) whose truth is known (and is `label`)."""
    corrections = correction.latest(task).where(
        Example.prediction_id >= floor(after), Example.prediction_id < floor(before), Example.version.is_not(None)
    )
    known = corrections.with_only_columns(*COLUMNS).subquery().c
    for population, weight in WEIGHTS.items():
        query = _sums(known, population, weight)
        if version is not None:
            query = query.where(known.version == version)
        if label is not None:
            query = query.where(known.label == label)
        for found_version, run_id, day, truth, predicted, score_bin, rows, *found in session.execute(query):
            moment = (EPOCH + timedelta(days=day)).date()
            tally = Tally(rows, *map(float, found))
            yield Group(population, found_version, run_id, moment, truth, predicted, score_bin, tally)


def tasks(session: Session) -> list[str]:
    """The tasks with accepted feedback, with one index lookup per task."""
    found: list[str] = []
    query = select(Example.task).order_by(Example.task).limit(1)
    task = session.scalar(query)
    while task is not None:
        found.append(task)
        task = session.scalar(query.where(Example.task > task))
    return found


def _sums(known: Any, population: Population, weight: ColumnElement[Any]) -> Select[*tuple[Any, ...]]:
    """The sums of a `Tally` for each group of the known predictions, in the order of its fields."""
    error = _error(known.answer_value, known.value)
    is_right = cast(known.label == known.answer_label, Integer)
    score_bin = func.least(func.width_bucket(known.answer_score, 0, 1, SCORE_BINS), SCORE_BINS)
    keys = (known.version, known.run_id, _day(known.prediction_id), known.label, known.answer_label, score_bin)
    score = _summable(known.answer_score)
    sums = (weight, weight * weight, weight * is_right, weight * score)
    errors = (weight * error, weight * func.abs(error), weight * error * error)
    query = select(*keys, func.count(), *(func.coalesce(func.sum(one), 0.0) for one in (*sums, *errors)))
    if population == "random":
        query = query.join(Sample, Sample.prediction_id == known.prediction_id)
    return query.group_by(*keys)


def _summable(number: ColumnElement[Any]) -> ColumnElement[Any]:
    """The number: infinity if it is too large to be squared and summed, 0 if it is too small."""
    size = func.abs(number)
    return case((size > LARGEST, INFINITY), (size < SMALLEST, ZERO), else_=number)


def _error(answer: ColumnElement[Any], truth: ColumnElement[Any]) -> ColumnElement[Any]:
    """Predicted value less true value, as `_summable`; infinity if one of them is too large."""
    too_large = func.greatest(func.abs(answer), func.abs(truth)) > LARGEST
    return case((too_large, INFINITY), else_=_summable(answer - truth))


def _day(prediction_id: ColumnElement[UUID]) -> ColumnElement[int]:
    """UTC days since 1970 of a prediction, from the first 48 bits of its id, which are milliseconds."""
    milliseconds = func.translate(func.left(cast(prediction_id, Text), 13), "-", "")
    return cast(cast(func.concat("x", milliseconds), BIT(48)), BigInteger).op("/")(86_400_000)
