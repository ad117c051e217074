"""Joins feedback with its prediction, in the transaction of whichever is stored second.

Two transactions that cannot see each other's rows would both find nothing to join. So both first take an advisory lock
that lasts until the end of their transaction: feedback takes the stripe of its prediction's id exclusively, predictions
share it with other predictions. The one that waits then sees what the other has committed, as Postgres takes a new
snapshot for every statement.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Integer, func, insert, literal, select
from sqlalchemy.orm import Session

from data_api.metrics import JOINS
from data_api.models.people.user import User
from data_api.models.predictions.example import Example
from data_api.models.predictions.feedback import Feedback, FeedbackStatus
from data_api.models.predictions.prediction import Prediction

from .correction import TRUSTED_ROLES

STRIPES = 64
NAMESPACE = 0x766F6C
"""First half of the keys of these advisory locks: "vol" in ASCII."""


def lock(session: Session, prediction_ids: Iterable[UUID], *, exclusive: bool) -> None:
    """Locks the stripes of these predictions until the transaction ends, in sorted order, so that none can deadlock."""
    stripes = sorted({key.int % STRIPES for key in prediction_ids})
    stripe = func.unnest(literal(stripes, ARRAY(Integer))).column_valued("stripe")
    take = func.pg_advisory_xact_lock if exclusive else func.pg_advisory_xact_lock_shared
    if stripes:
        session.execute(select(take(NAMESPACE, stripe)))


def join(session: Session, selected: ColumnElement[bool]) -> None:
    """Joins the selected pending feedback with those of its predictions that are stored."""
    pending = session.scalars(select(Feedback).where(Feedback.status == FeedbackStatus.PENDING, selected)).all()
    if not pending:
        return
    with_feedback = select(Prediction).where(Prediction.id.in_({feedback.prediction_id for feedback in pending}))
    predictions = {prediction.id: prediction for prediction in session.scalars(with_feedback)}
    people = select(User.id, User.role).where(User.id.in_({feedback.user_id for feedback in pending}))
    roles = dict(session.execute(people).all())
    examples = []
    for feedback in pending:
        if prediction := predictions.get(feedback.prediction_id):
            role = roles.get(feedback.user_id)
            feedback.task = prediction.task
            feedback.reason = refusal_reason(feedback, prediction, role)
            feedback.status = FeedbackStatus.REFUSED if feedback.reason else FeedbackStatus.ACCEPTED
            JOINS.labels(feedback.status).inc()
            if role and not feedback.reason:
                examples.append(example(feedback, prediction, role))
    session.flush()
    if examples:
        session.execute(insert(Example), examples)


def refusal_reason(feedback: Feedback, prediction: Prediction, role: str | None) -> str | None:
    """Why this feedback is refused, or None."""
    if role is None:
        return "Its user is not known any more."
    if prediction.user_id != feedback.user_id and role not in TRUSTED_ROLES:
        return "The prediction is somebody else's; only a trainer may correct those."
    if prediction.user_id is None and not prediction.row:
        return "The prediction's row was erased."
    labels = prediction.answer.get("probabilities")
    if isinstance(labels, dict):
        return None if feedback.label in labels else "The label is not one that the version knows."
    if feedback.value is None or not math.isfinite(feedback.value):
        return "This prediction is a number; its correction must be one."
    return None


def example(feedback: Feedback, prediction: Prediction, role: str) -> dict[str, object]:
    """The values for `examples`: the row with its truth, for training, and the prediction, for the accuracy."""
    return {
        "id": feedback.id,
        "created_at": feedback.created_at,
        "prediction_id": prediction.id,
        "task": prediction.task,
        "row": prediction.row,
        "row_schema": prediction.row_schema,
        "label": feedback.label,
        "value": feedback.value,
        "user_id": feedback.user_id,
        "user_role": role,
        "asker_id": prediction.user_id,
        "version": prediction.version,
        "run_id": prediction.run_id,
        "answer_label": prediction.label,
        "answer_score": prediction.score,
        "answer_value": prediction.value,
    }
