"""API keys: made, found by hash, revoked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from data_api.errors import UnknownKey
from data_api.ids import new_id
from data_api.models import APIKey, Scope, User

from .page import page


def create(
    session: Session, user_id: UUID, name: str, key_hash: str, scopes: Sequence[Scope], expires_at: datetime | None
) -> APIKey:
    """A new key."""
    key = APIKey(id=new_id(), user_id=user_id, name=name, hash=key_hash, scopes=list(scopes), expires_at=expires_at)
    session.add(key)
    session.flush()
    session.refresh(key)
    return key


def holder(session: Session, key_hash: str) -> tuple[APIKey, User] | None:
    """The key and its user, if the key is live and the user may sign in."""
    return session.execute(select(APIKey, User).join(User).where(APIKey.hash == key_hash, is_live())).first()


def live(session: Session) -> Sequence[tuple[APIKey, str]]:
    """Every live key of every enabled user, with the user's role."""
    return session.execute(select(APIKey, User.role).join(User).where(is_live())).all()


def find(session: Session, owner: UUID | None, limit: int, below: UUID | None) -> tuple[Sequence[APIKey], bool]:
    """A page, newest first; of one user when `owner` is given."""
    query = select(APIKey)
    if owner:
        query = query.where(APIKey.user_id == owner)
    return page(session, query, APIKey.id, limit, below)


def named(session: Session, user_id: UUID, name: str) -> Sequence[APIKey]:
    """A user's keys of this name that are not revoked."""
    query = select(APIKey).where(APIKey.user_id == user_id, APIKey.name == name, APIKey.revoked_at.is_(None))
    return session.scalars(query).all()


def by_hash(session: Session, key_hash: str) -> APIKey | None:
    """The key, live or not."""
    return session.scalar(select(APIKey).where(APIKey.hash == key_hash))


def revoke(session: Session, key_id: UUID, owner: UUID | None) -> None:
    """Ends a key for good; of one user when `owner` is given. UnknownKey when there is none."""
    query = select(APIKey).where(APIKey.id == key_id)
    if owner:
        query = query.where(APIKey.user_id == owner)
    key = session.scalar(query.with_for_update())
    if key is None:
        raise UnknownKey
    if key.revoked_at is None:
        key.revoked_at = session.scalar(select(func.now()))
    session.flush()


def is_live() -> ColumnElement[bool]:
    """Not revoked, not expired, and its user not disabled."""
    return (
        APIKey.revoked_at.is_(None) & or_(APIKey.expires_at.is_(None), APIKey.expires_at > func.now()) & ~User.disabled
    )
