"""Deletion of expired rows: tokens, counts, assignments, saved responses, feedback without a prediction."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import CursorResult, Delete, delete, func, select
from sqlalchemy.orm import Session

from data_api.crud.people.sign_in_failure import FORGOTTEN_AFTER
from data_api.ids import floor
from data_api.models.idempotency import IdempotencyKey
from data_api.models.people.invitation import Invitation
from data_api.models.people.known_address import KnownAddress
from data_api.models.people.refresh_token import RefreshToken
from data_api.models.people.sign_in_failure import SignInFailure
from data_api.models.people.signing_key import SigningKey
from data_api.models.people.user import DeletedUser
from data_api.models.predictions.example import Example
from data_api.models.predictions.feedback import Feedback, FeedbackStatus
from data_api.models.predictions.labelling import Assignment
from data_api.models.predictions.prediction import Prediction
from data_api.models.rate_limit import RateLimit

BATCH = 5_000
GRACE = timedelta(days=1)
"""How long expired rows stay in the table, so that an operator can inspect them."""
NOT_ACCEPTED = timedelta(days=30)
"""The same for invitations that were not accepted."""
UNUSED = timedelta(days=180)
"""The same for known addresses."""
RETIRED = timedelta(days=90)
"""The same for signing keys."""


def deleted_users(session: Session, token_lifetime: timedelta) -> int:
    """Ids of deleted users, once none of their tokens can be valid."""
    return _run(session, delete(DeletedUser).where(DeletedUser.deleted_at < func.now() - token_lifetime - GRACE))


def refresh_tokens(session: Session) -> int:
    """Expired ones. Used ones are kept until then, to detect a second use."""
    return _run(session, delete(RefreshToken).where(RefreshToken.expires_at < func.now() - GRACE))


def sign_in_failures(session: Session) -> int:
    """Counts without a failure for long."""
    return _run(session, delete(SignInFailure).where(SignInFailure.failed_at < func.now() - FORGOTTEN_AFTER - GRACE))


def known_addresses(session: Session) -> int:
    """Addresses from which an account was not signed in to for long."""
    return _run(session, delete(KnownAddress).where(KnownAddress.used_at < func.now() - UNUSED))


def requests(session: Session) -> int:
    """Saved responses to repeated requests, and rate-limit windows that have ended."""
    responses = delete(IdempotencyKey).where(IdempotencyKey.created_at < func.now() - GRACE)
    return _run(session, responses) + _run(session, delete(RateLimit).where(RateLimit.ends_at < func.now()))


def invitations(session: Session) -> int:
    """Those that were not accepted in time. Deleted as objects, so that they are audited."""
    late = select(Invitation).where(Invitation.accepted_at.is_(None), Invitation.expires_at < func.now() - NOT_ACCEPTED)
    found = session.scalars(late).all()
    for invitation in found:
        session.delete(invitation)
    session.flush()
    return len(found)


def signing_keys(session: Session) -> int:
    """Those that retired long ago. Deleted as objects, so that they are audited."""
    found = session.scalars(select(SigningKey).where(SigningKey.retires_at < func.now() - RETIRED)).all()
    for key in found:
        session.delete(key)
    session.flush()
    return len(found)


def assignments(session: Session) -> int:
    """Assignments that ended without a label."""
    return _run(session, delete(Assignment).where(Assignment.expires_at < func.now() - GRACE))


def pending_feedback(session: Session, now: datetime, days: int) -> int:
    """Up to `BATCH` rows of feedback whose prediction has not arrived within `days`."""
    late = (
        select(Feedback.id)
        .where(Feedback.status == FeedbackStatus.PENDING, Feedback.id < floor(now - timedelta(days=days)))
        .limit(BATCH)
    )
    return _run(session, delete(Feedback).where(Feedback.id.in_(late)))


def predictions_of_old_examples(session: Session) -> int:
    """Fills in the prediction and its owner in up to `BATCH` examples that were stored before these columns existed."""
    predicted = (Prediction.version, Prediction.label, Prediction.score, Prediction.value)
    incomplete = (
        select(Example.id, Prediction.user_id, *predicted)
        .join(Prediction, Prediction.id == Example.prediction_id)
        .where(Example.version.is_(None))
        .limit(BATCH)
    )
    rows = session.execute(incomplete).all()
    found = [
        {
            "id": key,
            "asker_id": asker_id,
            "version": version,
            "answer_label": label,
            "answer_score": score,
            "answer_value": value,
        }
        for key, asker_id, version, label, score, value in rows
    ]
    session.bulk_update_mappings(Example.__mapper__, found)
    return len(found)


def _run(session: Session, statement: Delete) -> int:
    done = session.execute(statement, execution_options={"synchronize_session": False})
    return cast("CursorResult[object]", done).rowcount
