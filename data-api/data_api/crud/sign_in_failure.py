"""Failed sign-ins: counted, waited for, forgotten."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import case, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from data_api.errors import LockedOut
from data_api.models import SignInFailure

FORGOTTEN = timedelta(days=1)
"""After so long without a failure the count begins anew."""
SHORTEST_WAIT = timedelta(seconds=1)
MOST_DOUBLINGS = 30


def check(session: Session, subjects: Sequence[str]) -> None:
    """LockedOut while one of them has to wait."""
    left = func.extract("epoch", func.max(SignInFailure.blocked_until) - func.now())
    seconds = session.scalar(select(left).where(SignInFailure.subject.in_(subjects)))
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
        check(session, [subject])
    elif failures >= tries:
        wait = min(SHORTEST_WAIT * 2 ** min(failures - tries, MOST_DOUBLINGS), longest_wait)
        session.execute(update(row).where(row.subject == subject).values(blocked_until=now + wait))


def clear(session: Session, subject: str) -> None:
    """Forgets the failures: somebody knew the password."""
    session.execute(delete(SignInFailure).where(SignInFailure.subject == subject))
