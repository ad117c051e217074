"""Where predictions and feedback meet, in the transaction of whichever comes second.

Two transactions that cannot see each other's rows would both find nobody to join. So both sides first take a lock
that lasts until the end of their transaction: feedback alone in its stripe of ids, predictions side by side with other
predictions. Whoever waits sees what the other committed, as Postgres takes a new snapshot for every statement.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Integer, func, insert, literal, select
from sqlalchemy.orm import Session

from data_api.metrics import JOINS
from data_api.models.people.user import Role, User
from data_api.models.predictions.example import Example
from data_api.models.predictions.feedback import Feedback, FeedbackStatus
from data_api.models.predictions.prediction import Prediction

STRIPES = 64
NAMESPACE = 0x766F6C
"""First half of the keys of these advisory locks; it spells "vol"."""


def lock(session: Session, prediction_ids: Iterable[UUID], *, alone: bool) -> None:
    """Holds off the other side for these predictions until the transaction ends. In one order: no deadlock."""
    stripes = sorted({key.int % STRIPES for key in prediction_ids})
    stripe = func.unnest(literal(stripes, ARRAY(Integer))).column_valued("stripe")
    take = func.pg_advisory_xact_lock if alone else func.pg_advisory_xact_lock_shared
    if stripes:
        session.execute(select(take(NAMESPACE, stripe)))


def join(session: Session, waiting: ColumnElement[bool]) -> None:
    """Joins the pending feedback that `waiting` names with those of its predictions that are there."""
    words = session.scalars(select(Feedback).where(Feedback.status == FeedbackStatus.PENDING, waiting)).all()
    if not words:
        return
    about = select(Prediction).where(Prediction.id.in_({word.prediction_id for word in words}))
    predictions = {prediction.id: prediction for prediction in session.scalars(about)}
    people = select(User.id, User.role).where(User.id.in_({word.user_id for word in words}))
    roles = dict(session.execute(people).all())
    examples = []
    for word in words:
        if prediction := predictions.get(word.prediction_id):
            role = roles.get(word.user_id)
            word.task = prediction.task
            word.reason = objection(word, prediction, role)
            word.status = FeedbackStatus.REFUSED if word.reason else FeedbackStatus.ACCEPTED
            JOINS.labels(word.status).inc()
            if role and not word.reason:
                examples.append(example(word, prediction, role))
    session.flush()
    if examples:
        session.execute(insert(Example), examples)


def objection(word: Feedback, prediction: Prediction, role: str | None) -> str | None:
    """Why this feedback does not count, or None."""
    if role is None:
        return "Its user is not known any more."
    if prediction.user_id != word.user_id and role not in (Role.TRAINER, Role.ADMIN):
        return "The prediction is somebody else's; only a trainer may correct those."
    if prediction.user_id is None and not prediction.row:
        return "The prediction's row was erased."
    labels = prediction.answer.get("probabilities")
    if isinstance(labels, dict):
        return None if word.label in labels else "The label is not one that the version knows."
    if word.value is None or not math.isfinite(word.value):
        return "This prediction is a number; its correction must be one."
    return None


def example(word: Feedback, prediction: Prediction, role: str) -> dict[str, object]:
    """The row and its truth, for trainings, and the answer, for the accuracy."""
    return {
        "id": word.id,
        "created_at": word.created_at,
        "prediction_id": prediction.id,
        "task": prediction.task,
        "row": prediction.row,
        "row_schema": prediction.row_schema,
        "label": word.label,
        "value": word.value,
        "user_id": word.user_id,
        "user_role": role,
        "asker_id": prediction.user_id,
        "version": prediction.version,
        "answer_label": prediction.label,
        "answer_score": prediction.score,
        "answer_value": prediction.value,
    }
