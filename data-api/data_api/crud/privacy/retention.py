"""Retention: the days that admins set by task, and the deletion by `data-api maintain`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from sqlalchemy import CursorResult, delete, select
from sqlalchemy.orm import InstrumentedAttribute as Column
from sqlalchemy.orm import Session

from data_api.errors import UnknownRetention
from data_api.ids import EPOCH, floor
from data_api.models.predictions.example import Example
from data_api.models.predictions.feedback import Feedback
from data_api.models.predictions.labelling import Sample
from data_api.models.predictions.prediction import Prediction
from data_api.models.privacy.retention import Retention

Bounds = Mapping[str, UUID]
BATCH = 5_000


def find(session: Session) -> Sequence[Retention]:
    """The retention of every task that has one."""
    return session.scalars(select(Retention).order_by(Retention.task)).all()


def get(session: Session, task: str) -> Retention:
    """The retention of a task, or UnknownRetention."""
    found: Retention | None = session.get(Retention, task)
    if found is None:
        raise UnknownRetention
    return found


def get_locked(session: Session, task: str) -> Retention:
    """The same, locked until the transaction ends."""
    found: Retention | None = session.get(Retention, task, with_for_update=True, populate_existing=True)
    if found is None:
        raise UnknownRetention
    return found


def put(session: Session, task: str, predictions_days: int | None, examples_days: int | None) -> Retention:
    """Sets both numbers of days; None: never deleted."""
    found = session.get(Retention, task, with_for_update=True)
    if found is None:
        found = Retention(task=task)
        session.add(found)
    found.predictions_days, found.examples_days = predictions_days, examples_days
    session.flush()
    session.refresh(found)
    return found


def remove(session: Session, task: str) -> None:
    """Removes the retention: rows of the task are not deleted any more."""
    session.delete(get(session, task))
    session.flush()


def kept_days(session: Session) -> dict[str, int]:
    """By task, the days for which anything may refer to an image in a row: the days of predictions plus those of
    examples, as an example may be made from a prediction of any age. Tasks without both are left out.
    """
    days = Retention.predictions_days + Retention.examples_days
    return {task: number for task, number in session.execute(select(Retention.task, days)) if number is not None}


def predictions_before(session: Session, now: datetime) -> Bounds:
    """By task, the id below which its predictions are past their retention."""
    return _before(session, Retention.predictions_days, now)


def examples_before(session: Session, now: datetime) -> Bounds:
    """The same for its examples and feedback."""
    return _before(session, Retention.examples_days, now)


def delete_predictions(session: Session, before: Bounds) -> int:
    """Deletes up to `BATCH` predictions that are past their retention; how many, 0 when none is left."""
    return _delete(session, before, Prediction.task, Prediction.id)


def delete_feedback(session: Session, before: Bounds) -> int:
    """Deletes up to `BATCH` examples, feedback or samples that are past their retention; how many, 0 when none
    is left.
    """
    return (
        _delete(session, before, Example.task, Example.id)
        or _delete(session, before, cast("Column[str]", Feedback.task), Feedback.id)
        or _delete(session, before, Sample.task, Sample.prediction_id)
    )


def _before(session: Session, days: Column[int | None], now: datetime) -> dict[str, UUID]:
    found = session.execute(select(Retention.task, days).where(days.is_not(None)))
    return {task: floor(_earlier(now, number)) for task, number in found if number}


def _earlier(now: datetime, days: int) -> datetime:
    return EPOCH if days > (now - EPOCH).days else now - timedelta(days=days)


def _delete(session: Session, before: Bounds, task: Column[str], key: Column[UUID]) -> int:
    for name, bound in before.items():
        some = select(key).where(task == name, key < bound).order_by(key).limit(BATCH)
        statement = delete(key.class_).where(key.in_(some))
        done = session.execute(statement, execution_options={"synchronize_session": False})
        if rows := cast("CursorResult[object]", done).rowcount:
            return rows
    return 0
