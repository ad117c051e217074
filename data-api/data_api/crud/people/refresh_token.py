"""Refresh tokens: each can be used once."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from data_api.errors import NotSignedIn, TokenReused
from data_api.ids import new_id
from data_api.models.people.refresh_token import RefreshToken
from data_api.models.people.user import User

UNKNOWN = "The refresh token is unknown, expired or revoked. Sign in again."


def start(session: Session, user: User, token_hash: str, lifetime: timedelta) -> None:
    """Adds the first token of a new family."""
    _add(session, user.id, new_id(), token_hash, lifetime)


def rotate(session: Session, used: str, fresh: str, lifetime: timedelta) -> User:
    """Exchanges a token for the next one. A second use revokes the whole family (TokenReused), as the token was
    copied.
    """
    user = session.scalar(select(User).join(RefreshToken).where(RefreshToken.hash == used))
    if user is None:
        raise NotSignedIn(UNKNOWN)
    locked = lock_user(session, user.id)
    if locked is None:
        raise NotSignedIn(UNKNOWN)
    spend = (
        update(RefreshToken)
        .where(
            RefreshToken.hash == used,
            RefreshToken.used_at.is_(None),
            RefreshToken.revoked_at.is_(None),
            RefreshToken.expires_at > func.now(),
        )
        .values(used_at=func.now())
        .returning(RefreshToken.family)
    )
    family = session.scalar(spend)
    if family is None:
        if end(session, used, only_used=True):
            raise TokenReused
        raise NotSignedIn(UNKNOWN)
    if locked.disabled:
        raise NotSignedIn(UNKNOWN)
    _add(session, locked.id, family, fresh, lifetime)
    return locked


def lock_user(session: Session, user_id: UUID) -> User | None:
    """Reads the user again and locks the row until the new tokens are committed. A new password, role or disabling then
    takes effect either before the tokens are made or after, and ends them. None: the user has been deleted.
    """
    locked: User | None = session.get(User, user_id, with_for_update={"read": True}, populate_existing=True)
    return locked


def end(session: Session, token_hash: str, *, only_used: bool = False) -> bool:
    """Revokes the family of a token; whether there was one. With `only_used`: only if the token was used already."""
    token = select(RefreshToken.family).where(RefreshToken.hash == token_hash)
    if only_used:
        token = token.where(RefreshToken.used_at.is_not(None))
    family = session.scalar(token)
    if family is None:
        return False
    session.execute(
        update(RefreshToken)
        .where(RefreshToken.family == family, RefreshToken.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )
    return True


def revoke_all(session: Session, user_id: UUID) -> None:
    """Revokes every refresh token of a user."""
    session.execute(
        update(RefreshToken)
        .where(RefreshToken.user_id == user_id, RefreshToken.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )


def _add(session: Session, user_id: UUID, family: UUID, token_hash: str, lifetime: timedelta) -> None:
    token = {"hash": token_hash, "family": family, "user_id": user_id, "expires_at": func.now() + lifetime}
    session.execute(insert(RefreshToken).values(token))
