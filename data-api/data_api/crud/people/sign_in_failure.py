"""Counts of failed sign-ins, and the lockout."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import bindparam, case, delete, false, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from data_api.errors import LockedOut
from data_api.models.people.sign_in_failure import SignInFailure

RESET_AFTER = timedelta(days=1)
"""After this long without a failure the count starts again."""
SHORTEST_WAIT = timedelta(seconds=1)
MOST_DOUBLINGS = 30
STATE = (
    select(
        func.coalesce(func.bool_or(SignInFailure.subject == bindparam("account")), false()).label("failed"),
        func.extract("epoch", func.max(SignInFailure.blocked_until) - func.now()).label("seconds"),
    )
    .where(or_(SignInFailure.subject == bindparam("account"), SignInFailure.subject == bindparam("address")))
    .subquery("failures")
)
"""One row, to join with other queries: whether `account` has failed since its last sign-in, and the seconds for which
it or `address` is still locked out (NULL or negative: it is not).
"""


def raise_if_blocked(seconds: Decimal | None) -> None:
    """LockedOut if seconds of the lockout are left."""
    if seconds is not None and seconds > 0:
        raise LockedOut(retry_after=math.ceil(seconds))


def count(session: Session, subject: str, tries: int, longest_wait: timedelta) -> None:
    """Counts a failure. From the `tries`-th in a row on, the subject is locked out for 1 second, then 2, 4, up to the
    longest wait.

    A failure during a lockout, as one of many sent at once, is not counted and raises LockedOut, which does not reveal
    whether the password was right.
    """
    now, row = func.now(), SignInFailure
    counting = (
        insert(row)
        .values(subject=subject, failures=1, failed_at=now)
        .on_conflict_do_update(
            index_elements=["subject"],
            set_={"failures": case((row.failed_at < now - RESET_AFTER, 1), else_=row.failures + 1), "failed_at": now},
            where=or_(row.blocked_until.is_(None), row.blocked_until <= now),
        )
        .returning(row.failures)
    )
    failures = session.scalar(counting)
    if failures is None:
        raise_if_blocked(session.scalar(select(STATE.c.seconds), {"account": subject, "address": subject}))
    elif failures >= tries:
        wait = min(SHORTEST_WAIT * 2 ** min(failures - tries, MOST_DOUBLINGS), longest_wait)
        session.execute(update(row).where(row.subject == subject).values(blocked_until=now + wait))


def clear(session: Session, subject: str) -> None:
    """Deletes the count of a subject, after a successful sign-in."""
    session.execute(delete(SignInFailure).where(SignInFailure.subject == subject))
