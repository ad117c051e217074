"""Sign-ins to the admin page."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from data_api.models.people.refresh_token import RefreshToken
from data_api.models.people.user import Role, User


def admin_of(session: Session, token_hash: str) -> User | None:
    """The admin of a sign-in; None if it has ended or its user is no enabled admin."""
    query = (
        select(User)
        .join(RefreshToken)
        .where(
            RefreshToken.hash == token_hash,
            RefreshToken.revoked_at.is_(None),
            RefreshToken.expires_at > func.now(),
            User.role == Role.ADMIN,
            ~User.disabled,
        )
    )
    return session.scalar(query)
