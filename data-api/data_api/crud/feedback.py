"""Feedback in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from data_api.models import Feedback, FeedbackStatus

from . import joining
from .bulk import STORED, Outcome, Values, insert
from .page import page


def store(session: Session, rows: Sequence[Values]) -> list[Outcome]:
    """Inserts what is new and joins it with the predictions that are there; the rest stays pending."""
    joining.lock(session, (cast("UUID", row["prediction_id"]) for row in rows), alone=True)
    outcomes = insert(session, Feedback, rows)
    stored = [cast("UUID", row["id"]) for row, outcome in zip(rows, outcomes, strict=True) if outcome is STORED]
    if stored:
        joining.join(session, Feedback.id.in_(stored))
    return outcomes


def about(session: Session, prediction_id: UUID) -> Sequence[Feedback]:
    """Everything said about one prediction, oldest first."""
    return session.scalars(select(Feedback).where(Feedback.prediction_id == prediction_id).order_by(Feedback.id)).all()


def find(
    session: Session,
    owner: UUID | None,
    task: str | None,
    status: FeedbackStatus | None,
    limit: int,
    below: UUID | None,
) -> tuple[Sequence[Feedback], bool]:
    """A page, newest first; of one user when `owner` is given."""
    query = select(Feedback)
    if owner:
        query = query.where(Feedback.user_id == owner)
    if task is not None:
        query = query.where(Feedback.task == task)
    if status is not None:
        query = query.where(Feedback.status == status)
    return page(session, query, Feedback.id, limit, below)
