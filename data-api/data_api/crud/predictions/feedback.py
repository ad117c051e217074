"""Feedback in and out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import cast
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from data_api.crud.bulk import STORED, Outcome, Values, insert, one_of
from data_api.crud.page import page
from data_api.crud.privacy import tombstone
from data_api.ids import floor
from data_api.models.predictions.feedback import Feedback, FeedbackStatus

from . import joining


@dataclass(frozen=True)
class Filter:
    """Which feedback; None asks for all."""

    owner: UUID | None = None
    """The only user whose feedback the caller may see."""
    user_id: UUID | None = None
    task: str | None = None
    status: FeedbackStatus | None = None
    after: datetime | None = None
    before: datetime | None = None


def store(session: Session, rows: Sequence[Values]) -> list[Outcome]:
    """Inserts what is new and joins it with the predictions that are there; the rest stays pending."""
    return tombstone.refusing(session, rows, partial(_store, session))


def _store(session: Session, rows: Sequence[Values]) -> list[Outcome]:
    joining.lock(session, (cast("UUID", row["prediction_id"]) for row in rows), alone=True)
    outcomes = insert(session, Feedback, rows)
    stored = [cast("UUID", row["id"]) for row, outcome in zip(rows, outcomes, strict=True) if outcome is STORED]
    if stored:
        joining.join(session, one_of(Feedback.id, stored))
    return outcomes


def about(session: Session, prediction_id: UUID) -> Sequence[Feedback]:
    """Everything said about one prediction, oldest first."""
    return session.scalars(select(Feedback).where(Feedback.prediction_id == prediction_id).order_by(Feedback.id)).all()


def find(session: Session, wanted: Filter, limit: int, below: UUID | None) -> tuple[Sequence[Feedback], bool]:
    """A page, newest first."""
    query = select(Feedback)
    if wanted.owner:
        query = query.where(Feedback.user_id == wanted.owner)
    if wanted.user_id:
        query = query.where(Feedback.user_id == wanted.user_id)
    if wanted.task is not None:
        query = query.where(Feedback.task == wanted.task)
    if wanted.status is not None:
        query = query.where(Feedback.status == wanted.status)
    if wanted.after:
        query = query.where(Feedback.id >= floor(wanted.after))
    if wanted.before:
        query = query.where(Feedback.id < floor(wanted.before))
    return page(session, query, Feedback.id, limit, below)
