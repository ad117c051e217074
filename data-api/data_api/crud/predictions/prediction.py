"""Predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import Session

from data_api.crud.bulk import STORED, RowOutcome, Values, insert, one_of
from data_api.crud.page import page
from data_api.crud.privacy import tombstone
from data_api.ids import floor
from data_api.models.predictions.feedback import Feedback, FeedbackStatus
from data_api.models.predictions.prediction import Prediction

from . import joining


@dataclass(frozen=True)
class PredictionFilter:
    """Which predictions; None: no condition."""

    owner: UUID | None = None
    """The only user whose predictions the caller may see."""
    user_id: UUID | None = None
    task: str | None = None
    version: int | None = None
    label: str | None = None
    role: str | None = None
    request_id: str | None = None
    min_score: float | None = None
    max_score: float | None = None
    corrected: bool | None = None
    """Whether accepted feedback differs from the prediction."""
    after: datetime | None = None
    before: datetime | None = None


def store(session: Session, rows: Sequence[Values]) -> list[RowOutcome]:
    """Inserts the rows that are new and joins pending feedback about them."""
    rows = tombstone.without_erased_people(session, rows)
    ids = [cast("UUID", row["id"]) for row in rows]
    joining.lock(session, ids, exclusive=False)
    outcomes = insert(session, Prediction, rows)
    stored = [key for key, outcome in zip(ids, outcomes, strict=True) if outcome is STORED]
    if stored:
        joining.join(session, one_of(Feedback.prediction_id, stored))
    return outcomes


def get(session: Session, prediction_id: UUID) -> Prediction | None:
    """One prediction, read from the partition of its month; None if there is none."""
    return session.scalar(select(Prediction).where(Prediction.id == prediction_id))


def find(
    session: Session, wanted: PredictionFilter, limit: int, below: UUID | None
) -> tuple[Sequence[Prediction], bool]:
    """A page, newest first. Times are bounds of the id, so that only the partitions of these months are read."""
    query = select(Prediction)
    if wanted.owner:
        query = query.where(Prediction.user_id == wanted.owner)
    if wanted.user_id:
        query = query.where(Prediction.user_id == wanted.user_id)
    if wanted.task is not None:
        query = query.where(Prediction.task == wanted.task)
    if wanted.version is not None:
        query = query.where(Prediction.version == wanted.version)
    if wanted.label is not None:
        query = query.where(Prediction.label == wanted.label)
    if wanted.role is not None:
        query = query.where(Prediction.role == wanted.role)
    if wanted.request_id is not None:
        query = query.where(Prediction.request_id == wanted.request_id)
    if wanted.min_score is not None:
        query = query.where(Prediction.score >= wanted.min_score)
    if wanted.max_score is not None:
        query = query.where(Prediction.score <= wanted.max_score)
    if wanted.corrected is not None:
        query = query.where(_is_corrected() if wanted.corrected else ~_is_corrected())
    if wanted.after:
        query = query.where(Prediction.id >= floor(wanted.after))
    if wanted.before:
        query = query.where(Prediction.id < floor(wanted.before))
    return page(session, query, Prediction.id, limit, below)


def _is_corrected() -> ColumnElement[bool]:
    other = or_(Feedback.label.is_distinct_from(Prediction.label), Feedback.value.is_distinct_from(Prediction.value))
    return exists().where(Feedback.prediction_id == Prediction.id, Feedback.status == FeedbackStatus.ACCEPTED, other)
