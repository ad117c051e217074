"""Queries of a sign-in. Account and lockout are read in one prepared statement, as each statement adds to the time of
the hash.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import bindparam, select, true
from sqlalchemy.orm import Session

from data_api.models.people.user import User

from .sign_in_failure import STATE, raise_if_blocked

LOOK_UP = select(STATE.c.seconds, User.id, User.password_hash).select_from(
    STATE.outerjoin(User, User.email == bindparam("email"))
)
LOCK_USER = (
    select(User, STATE.c.failed, STATE.c.seconds)
    .join(STATE, true())
    .where(User.id == bindparam("user_id"))
    .with_for_update(read=True, of=User)
    .execution_options(populate_existing=True)
)


def look_up(session: Session, email: str, account: str, address: str) -> tuple[UUID | None, str | None]:
    """Id and password hash of the user with this e-mail, else None. LockedOut while `account` or `address`, the keys of
    the failure counts, is locked out.
    """
    subjects = {"account": account, "address": address}
    seconds, user_id, password_hash = session.execute(LOOK_UP, {"email": email.lower(), **subjects}).one()
    raise_if_blocked(seconds)
    return user_id, password_hash


def lock_user(session: Session, user_id: UUID, account: str, address: str) -> tuple[User, bool] | None:
    """Locks the user as `refresh_token.lock_user` does; returns it and whether the account has failures. None: the user
    has been deleted. LockedOut if failures since `look_up` have locked out the account or the address.
    """
    found = session.execute(LOCK_USER, {"user_id": user_id, "account": account, "address": address}).one_or_none()
    if found is None:
        return None
    user, failed, seconds = found
    raise_if_blocked(seconds)
    return user, failed
