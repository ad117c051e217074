"""Queries of a sign-in. Account, waits and known address are read in one prepared statement, as each statement adds to
the time of the hash.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import bindparam, func, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from data_api.models.people.known_address import KnownAddress
from data_api.models.people.user import User

from .sign_in_failure import STATE, Subjects, raise_if_blocked

USE_NOTED_EVERY = timedelta(days=1)
LOOK_UP = select(
    STATE.c.own_seconds, STATE.c.shared_seconds, User.id, User.password_hash, KnownAddress.used_at
).select_from(
    STATE.outerjoin(User, User.email == bindparam("email")).outerjoin(
        KnownAddress, (KnownAddress.user_id == User.id) & (KnownAddress.subject == bindparam("known_as"))
    )
)
LOCK_USER = (
    select(User, STATE.c.failed, STATE.c.own_seconds, STATE.c.shared_seconds)
    .join(STATE, true())
    .where(User.id == bindparam("user_id"))
    .with_for_update(read=True, of=User)
    .execution_options(populate_existing=True)
)


@dataclass(frozen=True)
class Found:
    """What is known of a sign-in before the password is checked."""

    user_id: UUID | None
    password_hash: str | None
    is_known: bool
    """Whether its source has signed in to this account before, so that the failures of strangers do not delay it."""
    is_address_noted: bool
    """Whether the address was noted as known to the account within `USE_NOTED_EVERY`."""


def look_up(session: Session, email: str, subjects: Subjects, known_as: str, is_known: bool) -> Found:
    """The account with this e-mail. `is_known`: the device proves that it has signed in before; else the source is
    known if `known_as`, the pseudonym of account and address, is noted. LockedOut while the source, or a stranger's
    account or address, has to wait.
    """
    values = {"email": email, "known_as": known_as, **asdict(subjects)}
    own, shared, user_id, password_hash, used_at = session.execute(LOOK_UP, values).one()
    known = is_known or used_at is not None
    raise_if_blocked(own, None if known else shared)
    is_noted = used_at is not None and datetime.now(UTC) - used_at < USE_NOTED_EVERY
    return Found(user_id, password_hash, known, is_noted)


def lock_user(
    session: Session, user_id: UUID, subjects: Subjects, is_known: bool, *, exclusive: bool = False
) -> tuple[User, bool] | None:
    """Locks the user as `refresh_token.lock_user` does; returns it and whether the source has failures. None: the user
    has been deleted. LockedOut if failures since `look_up` make the sign-in wait. `exclusive`: the
    caller will change the row.
    """
    statement = LOCK_USER.with_for_update(of=User) if exclusive else LOCK_USER
    found = session.execute(statement, {"user_id": user_id, **asdict(subjects)}).one_or_none()
    if found is None:
        return None
    user, failed, own, shared = found
    raise_if_blocked(own, None if is_known else shared)
    return user, failed


def note_address(session: Session, user_id: UUID, known_as: str) -> None:
    """Stores that the account was signed in to from an address now."""
    new = insert(KnownAddress).values(subject=known_as, user_id=user_id, used_at=func.now())
    renewed = {"user_id": new.excluded.user_id, "used_at": new.excluded.used_at}
    session.execute(new.on_conflict_do_update(index_elements=["subject"], set_=renewed))
