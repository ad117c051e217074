"""Feedback."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import cast
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from data_api.crud.bulk import STORED, RowOutcome, Values, insert, one_of
from data_api.crud.page import page
from data_api.crud.privacy import tombstone
from data_api.ids import floor
from data_api.models.predictions.feedback import Feedback, FeedbackStatus

from . import joining

MOST_PENDING = 10_000
"""Most feedback of one person that waits for its prediction."""
TOO_MANY = RowOutcome("refused", f"Its user has {MOST_PENDING} corrections already that wait for their predictions.")


@dataclass(frozen=True)
class FeedbackFilter:
    """Which feedback; None: no condition."""

    owner: UUID | None = None
    """The only user whose feedback the caller may see."""
    user_id: UUID | None = None
    task: str | None = None
    status: FeedbackStatus | None = None
    request_id: str | None = None
    after: datetime | None = None
    before: datetime | None = None


def store(session: Session, rows: Sequence[Values]) -> list[RowOutcome]:
    """Inserts the rows that are new and joins them with their predictions; without a prediction they stay pending."""
    return tombstone.store_or_refuse(session, rows, partial(_store, session))


def _store(session: Session, rows: Sequence[Values]) -> list[RowOutcome]:
    joining.lock(session, (cast("UUID", row["prediction_id"]) for row in rows), exclusive=True)
    outcomes = insert(session, Feedback, rows)
    stored = [cast("UUID", row["id"]) for row, outcome in zip(rows, outcomes, strict=True) if outcome is STORED]
    if not stored:
        return outcomes
    joining.join(session, one_of(Feedback.id, stored))
    refused = _without_surplus(session, stored)
    return [TOO_MANY if row["id"] in refused else outcome for row, outcome in zip(rows, outcomes, strict=True)]


def _without_surplus(session: Session, stored: Sequence[UUID]) -> set[UUID]:
    """Deletes those of the stored rows with which a person has more than MOST_PENDING pending ones; their ids."""
    is_pending = Feedback.status == FeedbackStatus.PENDING
    mine = select(Feedback.id, Feedback.user_id).where(is_pending, one_of(Feedback.id, stored)).order_by(Feedback.id)
    pending = defaultdict[UUID, list[UUID]](list)
    for id_, user_id in session.execute(mine):
        pending[user_id].append(id_)
    if not pending:
        return set()
    counted = select(Feedback.user_id, func.count()).where(is_pending, one_of(Feedback.user_id, pending))
    counts = session.execute(counted.group_by(Feedback.user_id)).all()
    surplus = {
        id_ for user_id, count in counts if count > MOST_PENDING for id_ in pending[user_id][MOST_PENDING - count :]
    }
    if surplus:
        session.execute(delete(Feedback).where(one_of(Feedback.id, surplus)))
    return surplus


def about(session: Session, prediction_id: UUID) -> Sequence[Feedback]:
    """All feedback about one prediction, oldest first."""
    return session.scalars(select(Feedback).where(Feedback.prediction_id == prediction_id).order_by(Feedback.id)).all()


def find(session: Session, wanted: FeedbackFilter, limit: int, below: UUID | None) -> tuple[Sequence[Feedback], bool]:
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
    if wanted.request_id is not None:
        query = query.where(Feedback.request_id == wanted.request_id)
    if wanted.after:
        query = query.where(Feedback.id >= floor(wanted.after))
    if wanted.before:
        query = query.where(Feedback.id < floor(wanted.before))
    return page(session, query, Feedback.id, limit, below)
