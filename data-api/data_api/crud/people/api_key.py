"""API keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, DateTime, Uuid, func, literal, or_, select, update
from sqlalchemy.orm import Session

from data_api.crud.page import page
from data_api.errors import UnknownKey, UnknownUser
from data_api.ids import new_id
from data_api.models.people.api_key import APIKey, Scope
from data_api.models.people.user import User

USE_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class KeyFilter:
    """Which keys; None and False: no condition."""

    owner: UUID | None = None
    """The only user whose keys the caller may see."""
    user_id: UUID | None = None
    live: bool = False


def create(
    session: Session, user_id: UUID, name: str, key_hash: str, scopes: Sequence[Scope], expires_at: datetime | None
) -> APIKey:
    """A new key; UnknownUser if the user has been deleted meanwhile."""
    if session.scalar(select(User.id).where(User.id == user_id).with_for_update(read=True, key_share=True)) is None:
        raise UnknownUser
    key = APIKey(id=new_id(), user_id=user_id, name=name, hash=key_hash, scopes=list(scopes), expires_at=expires_at)
    session.add(key)
    session.flush()
    session.refresh(key)
    return key


def find_live(session: Session, key_hash: str) -> tuple[APIKey, User] | None:
    """The key and its user; None unless the key is valid and the user enabled."""
    return session.execute(select(APIKey, User).join(User).where(APIKey.hash == key_hash, is_live())).first()


def live(session: Session) -> Sequence[tuple[APIKey, str]]:
    """Every valid key of every enabled user, with the user's role."""
    return session.execute(select(APIKey, User.role).join(User).where(is_live())).all()


def find(session: Session, wanted: KeyFilter, limit: int, below: UUID | None) -> tuple[Sequence[APIKey], bool]:
    """A page, newest first."""
    query = select(APIKey)
    if wanted.owner:
        query = query.where(APIKey.user_id == wanted.owner)
    if wanted.user_id:
        query = query.where(APIKey.user_id == wanted.user_id)
    if wanted.live:
        query = query.join(User).where(is_live())
    return page(session, query, APIKey.id, limit, below)


def by_name(session: Session, user_id: UUID, name: str) -> Sequence[APIKey]:
    """A user's keys of this name that are not revoked."""
    query = select(APIKey).where(APIKey.user_id == user_id, APIKey.name == name, APIKey.revoked_at.is_(None))
    return session.scalars(query).all()


def by_hash(session: Session, key_hash: str) -> APIKey | None:
    """The key, valid or not."""
    return session.scalar(select(APIKey).where(APIKey.hash == key_hash))


def revoke(session: Session, key_id: UUID, owner: UUID | None) -> None:
    """Revokes a key; with `owner`, only one of theirs. UnknownKey if there is none."""
    query = select(APIKey).where(APIKey.id == key_id)
    if owner:
        query = query.where(APIKey.user_id == owner)
    key = session.scalar(query.with_for_update())
    if key is None:
        raise UnknownKey
    if key.revoked_at is None:
        key.revoked_at = session.scalar(select(func.now()))
    session.flush()


def note_use(session: Session, key: APIKey) -> bool:
    """Sets `last_used_at` to now if it is a minute old; whether it did. This is not audited."""
    due = or_(APIKey.last_used_at.is_(None), APIKey.last_used_at < func.now() - USE_NOTED_EVERY)
    noted = update(APIKey).where(APIKey.id == key.id, due).values(last_used_at=func.now()).returning(APIKey.id)
    return session.scalar(noted, execution_options={"synchronize_session": False, "quiet": True}) is not None


def note_uses(session: Session, uses: Mapping[UUID, datetime]) -> None:
    """Sets `last_used_at` of keys used at ai-api. Deleted keys and earlier times are ignored."""
    known = select(APIKey.id).where(APIKey.id.in_(uses)).order_by(APIKey.id).with_for_update()
    ids = session.scalars(known).all()  # sorted, so that two reports at once cannot deadlock
    if not ids:
        return
    used = (
        func.unnest(literal(ids, ARRAY(Uuid)), literal([uses[key] for key in ids], ARRAY(DateTime(timezone=True))))
        .table_valued("id", "at", name="used")
        .render_derived()
    )
    moment = func.least(used.c.at, func.now())
    later = or_(APIKey.last_used_at.is_(None), APIKey.last_used_at < moment)
    session.execute(
        update(APIKey).where(APIKey.id == used.c.id, later).values(last_used_at=moment),
        execution_options={"synchronize_session": False, "quiet": True},
    )


def is_live() -> ColumnElement[bool]:
    """Not revoked, not expired, and its user not disabled."""
    return (
        APIKey.revoked_at.is_(None) & or_(APIKey.expires_at.is_(None), APIKey.expires_at > func.now()) & ~User.disabled
    )
