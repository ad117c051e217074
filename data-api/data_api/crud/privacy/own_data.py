"""All data of one person, page by page, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, joinedload

from data_api.crud.page import page
from data_api.models.audit import Audit, AuditDetail
from data_api.models.people.api_key import APIKey
from data_api.models.people.user import User
from data_api.models.predictions.example import Example
from data_api.models.predictions.feedback import Feedback
from data_api.models.predictions.prediction import Prediction


def profile(session: Session, user_id: UUID, limit: int, below: UUID | None) -> tuple[Sequence[User], bool]:
    """The account."""
    return page(session, select(User).where(User.id == user_id), User.id, limit, below)


def api_keys(session: Session, user_id: UUID, limit: int, below: UUID | None) -> tuple[Sequence[APIKey], bool]:
    """The API keys."""
    return page(session, select(APIKey).where(APIKey.user_id == user_id), APIKey.id, limit, below)


def predictions(session: Session, user_id: UUID, limit: int, below: UUID | None) -> tuple[Sequence[Prediction], bool]:
    """The predictions that they requested."""
    return page(session, select(Prediction).where(Prediction.user_id == user_id), Prediction.id, limit, below)


def feedback(session: Session, user_id: UUID, limit: int, below: UUID | None) -> tuple[Sequence[Feedback], bool]:
    """The feedback that they gave."""
    return page(session, select(Feedback).where(Feedback.user_id == user_id), Feedback.id, limit, below)


def examples(session: Session, user_id: UUID, limit: int, below: UUID | None) -> tuple[Sequence[Example], bool]:
    """The examples with their rows, by whomever the feedback."""
    return page(session, select(Example).where(Example.asker_id == user_id), Example.id, limit, below)


def history(session: Session, user_id: UUID, limit: int, below: UUID | None) -> tuple[Sequence[Audit], bool]:
    """The audit of changes by them or about them; with values only if these are about them."""
    about = select(AuditDetail.audit_id).where(AuditDetail.user_id == user_id)
    values = joinedload(Audit.detail.and_(AuditDetail.user_id == user_id))
    query = select(Audit).where(or_(Audit.actor_id == user_id, Audit.id.in_(about))).options(values)
    return page(session, query, Audit.id, limit, below)
