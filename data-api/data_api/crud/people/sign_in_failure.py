"""Failed sign-ins: counted, waited for, forgotten."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import bindparam, case, delete, false, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from data_api.errors import LockedOut
from data_api.models.people.sign_in_failure import SignInFailure

FORGOTTEN = timedelta(days=1)
"""After so long without a failure the count begins anew."""
SHORTEST_WAIT = timedelta(seconds=1)
MOST_DOUBLINGS = 30
STATE = (
    select(
        func.coalesce(func.bool_or(SignInFailure.subject == bindparam("account")), false()).label("failed"),
        func.extract("epoch", func.max(SignInFailure.blocked_until) - func.now()).label("seconds"),
    )
    .where(or_(SignInFailure.subject == bindparam("account"), SignInFailure.subject == bindparam("place")))
    .subquery("failures")
)
"""One row, to be read along with something else: whether `account` has failed since its last sign-in, and the seconds
that it or `place` still has to wait (NULL or less than 0 for none).
"""


def refuse(seconds: Decimal | None) -> None:
    """LockedOut while there are seconds left to wait."""
    if seconds is not None and seconds > 0:
        raise LockedOut(retry_after=math.ceil(seconds))


def count(session: Session, subject: str, tries: int, longest_wait: timedelta) -> None:
    """One more failure. From the `tries`-th in a row on, a wait of a second, then two, four, up to the longest.

    A failure that comes while the subject waits, as one of many sent at once, tells its sender nothing: LockedOut.
    """
    now, row = func.now(), SignInFailure
    counting = (
        insert(row)
        .values(subject=subject, failures=1, failed_at=now)
        .on_conflict_do_update(
            index_elements=["subject"],
            set_={"failures": case((row.failed_at < now - FORGOTTEN, 1), else_=row.failures + 1), "failed_at": now},
            where=or_(row.blocked_until.is_(None), row.blocked_until <= now),
        )
        .returning(row.failures)
    )
    failures = session.scalar(counting)
    if failures is None:
        refuse(session.scalar(select(STATE.c.seconds), {"account": subject, "place": subject}))
    elif failures >= tries:
        wait = min(SHORTEST_WAIT * 2 ** min(failures - tries, MOST_DOUBLINGS), longest_wait)
        session.execute(update(row).where(row.subject == subject).values(blocked_until=now + wait))


def clear(session: Session, subject: str) -> None:
    """Forgets the failures: somebody knew the password."""
    session.execute(delete(SignInFailure).where(SignInFailure.subject == subject))
