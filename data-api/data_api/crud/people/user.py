"""Users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from data_api.crud import advisory_lock
from data_api.crud.page import page
from data_api.errors import EmailTaken, LastAdmin, UnknownUser
from data_api.ids import new_id
from data_api.models.people.invitation import Invitation
from data_api.models.people.user import DeletedUser, Role, User

from . import refresh_token

PEOPLE_LOCK = 0x70656F706C65
"""Key of the advisory lock under which accounts change: "people" in ASCII."""


@dataclass(frozen=True)
class UserFilter:
    """Which users; None: no condition."""

    search: str | None = None
    """Part of the e-mail or the name, whatever its case."""
    role: Role | None = None
    disabled: bool | None = None


def create(session: Session, email: str, role: Role, password_hash: str | None, name: str | None = None) -> User:
    """A new user; EmailTaken if the e-mail has an account, also when two are created at once."""
    user = User(id=new_id(), email=email.lower(), name=name, role=role, password_hash=password_hash)
    with _email_taken(session):
        session.add(user)
    session.refresh(user)
    return user


def get(session: Session, user_id: UUID) -> User:
    """The user, or UnknownUser."""
    user: User | None = session.get(User, user_id)
    if user is None:
        raise UnknownUser
    return user


def by_email(session: Session, email: str) -> User | None:
    """The user who signs in with this e-mail."""
    return session.scalar(select(User).where(User.email == email.lower()))


def by_token(session: Session, user_id: UUID, issued_at: datetime) -> User | None:
    """The user of an access token issued at this moment; None if the user is gone or disabled, or the token ended."""
    user: User | None = session.get(User, user_id)
    if user is None or user.disabled or (user.tokens_valid_after and issued_at < user.tokens_valid_after):
        return None
    return user


def find(session: Session, wanted: UserFilter, limit: int, below: UUID | None) -> tuple[Sequence[User], bool]:
    """A page, newest first."""
    query = select(User)
    if wanted.search:
        part = wanted.search.lower()
        query = query.where(
            or_(User.email.contains(part, autoescape=True), func.lower(User.name).contains(part, autoescape=True))
        )
    if wanted.role is not None:
        query = query.where(User.role == wanted.role)
    if wanted.disabled is not None:
        query = query.where(User.disabled == wanted.disabled)
    return page(session, query, User.id, limit, below)


def change(
    session: Session,
    user_id: UUID,
    *,
    role: Role | None = None,
    disabled: bool | None = None,
    password_hash: str | None = None,
    email: str | None = None,
    name: str | None = None,
) -> User:
    """Changes the fields that are not None. A new password or role, or disabling, ends every access token; a new
    password and disabling end the refresh tokens too. LastAdmin if no enabled admin would be left, EmailTaken if the
    new e-mail has an account.
    """
    user = get_locked(session, user_id)
    demoted = role is not None and role != user.role
    locked_out = disabled is True and not user.disabled
    if demoted or locked_out:
        _keep_an_admin(session, user)
    if email:
        with _email_taken(session):
            user.email = email.lower()
    user.name = name or user.name
    user.role = role or user.role
    user.disabled = user.disabled if disabled is None else disabled
    user.password_hash = password_hash or user.password_hash
    if demoted or locked_out or password_hash:
        user.tokens_valid_after = datetime.now(UTC)
    session.flush()
    if locked_out or password_hash:
        refresh_token.revoke_all(session, user.id)
    return user


def replace_hash(session: Session, user: User, password_hash: str) -> None:
    """Stores another hash of the same password. This is not audited, as nothing changes for anybody."""
    changed = update(User).where(User.id == user.id).values(password_hash=password_hash)
    session.execute(changed, execution_options={"synchronize_session": False, "quiet": True})


def sign_out_everywhere(session: Session, user_id: UUID) -> None:
    """Ends every access and refresh token of the user. API keys stay valid."""
    user = get_locked(session, user_id)
    user.tokens_valid_after = datetime.now(UTC)
    session.flush()
    refresh_token.revoke_all(session, user.id)


def delete(session: Session, user_id: UUID) -> None:
    """Deletes the user with API keys, refresh tokens and invitations. The id is kept in `deleted_users`, so that access
    tokens that have not expired are refused.
    """
    user = get_locked(session, user_id)
    _keep_an_admin(session, user)
    for invitation in session.scalars(select(Invitation).where(Invitation.email == user.email)):
        session.delete(invitation)
    session.flush()
    session.add(DeletedUser(id=user.id))
    session.delete(user)
    session.flush()


def refused_users(session: Session, window: timedelta) -> list[UUID]:
    """Users whose tokens are refused: the disabled, and those deleted within the life of a token."""
    disabled = select(User.id).where(User.disabled)
    deleted = select(DeletedUser.id).where(DeletedUser.deleted_at > func.now() - window)
    return list(session.scalars(disabled.union_all(deleted)))


def valid_after(session: Session, window: timedelta) -> dict[UUID, datetime]:
    """The time before which tokens of a user are refused, for users with such a time within the life of a token."""
    query = select(User.id, User.tokens_valid_after).where(User.tokens_valid_after > func.now() - window)
    return {user_id: moment for user_id, moment in session.execute(query) if moment}


def get_locked(session: Session, user_id: UUID) -> User:
    """The user, locked against sign-ins that would issue tokens with the old state. One such change runs at a time, so
    that two admins who remove each other at once cannot both succeed.
    """
    advisory_lock.lock(session, PEOPLE_LOCK)
    user: User | None = session.get(User, user_id, with_for_update=True, populate_existing=True)
    if user is None:
        raise UnknownUser
    return user


def _keep_an_admin(session: Session, leaving: User) -> None:
    others = select(User.id).where(User.role == Role.ADMIN, ~User.disabled, User.id != leaving.id).limit(1)
    if leaving.role == Role.ADMIN and not leaving.disabled and session.scalar(others) is None:
        raise LastAdmin


@contextmanager
def _email_taken(session: Session) -> Iterator[None]:
    """Turns the violation of the unique e-mail into EmailTaken; the transaction can continue."""
    try:
        with session.begin_nested():
            yield
    except IntegrityError as error:
        if getattr(getattr(error.orig, "diag", None), "constraint_name", None) != "uq_users_email":
            raise
        raise EmailTaken from None
