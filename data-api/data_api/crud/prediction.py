"""Predictions in and out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from data_api.ids import floor
from data_api.models import Feedback, Prediction

from . import joining
from .bulk import STORED, Outcome, Values, insert
from .page import page


@dataclass(frozen=True)
class Filter:
    """Which predictions; None asks for all."""

    owner: UUID | None = None
    """The only user whose predictions the caller may see."""
    user_id: UUID | None = None
    task: str | None = None
    version: int | None = None
    label: str | None = None
    after: datetime | None = None
    before: datetime | None = None


def store(session: Session, rows: Sequence[Values]) -> list[Outcome]:
    """Inserts what is new and joins the feedback that waited for it."""
    ids = [cast("UUID", row["id"]) for row in rows]
    joining.lock(session, ids, alone=False)
    outcomes = insert(session, Prediction, rows)
    stored = [key for key, outcome in zip(ids, outcomes, strict=True) if outcome is STORED]
    if stored:
        joining.join(session, Feedback.prediction_id.in_(stored))
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
    if wanted.after:
        query = query.where(Prediction.id >= floor(wanted.after))
    if wanted.before:
        query = query.where(Prediction.id < floor(wanted.before))
    return page(session, query, Prediction.id, limit, below)
