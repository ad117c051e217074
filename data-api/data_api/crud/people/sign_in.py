"""Who signs in, and whether they have to wait, read together: every statement adds to what the hash costs, and so does
building one.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import bindparam, select, true
from sqlalchemy.orm import Session

from data_api.models.people.user import User

from .sign_in_failure import STATE, refuse

LOOK_UP = select(STATE.c.seconds, User.id, User.password_hash).select_from(
    STATE.outerjoin(User, User.email == bindparam("email"))
)
HOLD = (
    select(User, STATE.c.failed, STATE.c.seconds)
    .join(STATE, true())
    .where(User.id == bindparam("user_id"))
    .with_for_update(read=True, of=User)
    .execution_options(populate_existing=True)
)


def look_up(session: Session, email: str, account: str, place: str) -> tuple[UUID | None, str | None]:
    """Id and password hash of the user with this e-mail, if there is one. LockedOut while `account` or `place`, as
    failures are counted by, has to wait.
    """
    subjects = {"account": account, "place": place}
    seconds, user_id, kept = session.execute(LOOK_UP, {"email": email.lower(), **subjects}).one()
    refuse(seconds)
    return user_id, kept


def hold(session: Session, user_id: UUID, account: str, place: str) -> tuple[User, bool] | None:
    """Reads the user again as `refresh_token.hold` does, with whether the account failed before. None: somebody deleted
    the user. LockedOut when so many others failed since `look_up` that one has to wait.
    """
    held = session.execute(HOLD, {"user_id": user_id, "account": account, "place": place}).one_or_none()
    if held is None:
        return None
    user, failed, seconds = held
    refuse(seconds)
    return user, failed
