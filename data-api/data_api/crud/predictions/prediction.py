"""Predictions in and out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import Session

from data_api.crud.bulk import STORED, Outcome, Values, insert, one_of
from data_api.crud.page import page
from data_api.crud.privacy import tombstone
from data_api.ids import floor
from data_api.models.predictions.feedback import Feedback, FeedbackStatus
from data_api.models.predictions.prediction import Prediction

from . import joining


@dataclass(frozen=True)
class Filter:
    """Which predictions; None asks for all."""

    owner: UUID | None = None
    """The only user whose predictions the caller may see."""
    user_id: UUID | None = None
    task: str | None = None
    version: int | None = None
    label: str | None = None
    role: str | None = None
    min_score: float | None = None
    max_score: float | None = None
    corrected: bool | None = None
    """Whether somebody whose word counts said something else than the answer."""
    after: datetime | None = None
    before: datetime | None = None


def store(session: Session, rows: Sequence[Values]) -> list[Outcome]:
    """Inserts what is new and joins the feedback that waited for it."""
    rows = tombstone.anonymised(session, rows)
    ids = [cast("UUID", row["id"]) for row in rows]
    joining.lock(session, ids, alone=False)
    outcomes = insert(session, Prediction, rows)
    stored = [key for key, outcome in zip(ids, outcomes, strict=True) if outcome is STORED]
    if stored:
        joining.join(session, one_of(Feedback.prediction_id, stored))
    return outcomes


def get(session: Session, prediction_id: UUID) -> Prediction | None:
    """One prediction; only its month's partition is looked into."""
    return session.scalar(select(Prediction).where(Prediction.id == prediction_id))


def find(session: Session, wanted: Filter, limit: int, below: UUID | None) -> tuple[Sequence[Prediction], bool]:
    """A page, newest first. The bounds in time are bounds of the id, so that partitions outside are left alone."""
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
