"""Counts of failed sign-ins, and how long the next one has to wait.

A failure is counted for its *source*, which is an account together with a device or an address, and for two subjects
that strangers share: the account, and the address. A source that has signed in before does not use the shared counts.
Each subject has a `SlowDown`: `tries` failures without a wait, then waits of 1, 2, 4 ... seconds up to its longest
wait; each longest wait without a failure takes one off the count.

So the number of guesses is bounded, whatever is tried in parallel, as a failure during a wait is not counted and its
password is not checked. With the default settings:

- one source, at one account: 10, then 6 in 63 seconds, then one a minute: at most 75 in the first hour, 60 in each
  further one;
- all sources that are not known to an account, together: 100, then 6 in 63 seconds, then one a minute: at most 165 in
  the first hour, 60 in each further one;
- one address, at all accounts to which it is not known: 50, then one a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import Integer, bindparam, cast, delete, extract, false, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from data_api.errors import LockedOut
from data_api.models.people.sign_in_failure import SignInFailure

SHORTEST_WAIT = timedelta(seconds=1)
MOST_DOUBLINGS = 30
FORGOTTEN_AFTER = timedelta(days=1)
"""Counts without a failure for this long are deleted."""
SHARED = or_(SignInFailure.subject == bindparam("account"), SignInFailure.subject == bindparam("address"))
OWN = SignInFailure.subject == bindparam("source")
STATE = (
    select(
        func.coalesce(func.bool_or(OWN), false()).label("failed"),
        extract("epoch", func.max(SignInFailure.blocked_until).filter(OWN) - func.now()).label("own_seconds"),
        extract("epoch", func.max(SignInFailure.blocked_until).filter(SHARED) - func.now()).label("shared_seconds"),
    )
    .where(or_(OWN, SHARED))
    .subquery("failures")
)
"""One row, to join with other queries: whether `source` has failed since its last sign-in, and the seconds for which
it, and the subjects that strangers share, still have to wait (NULL or negative: they need not).
"""


@dataclass(frozen=True)
class SlowDown:
    """After how many failures a subject has to wait, and how long at most."""

    tries: int
    longest_wait: timedelta


@dataclass(frozen=True)
class Subjects:
    """The subjects of one sign-in, as pseudonyms."""

    source: str
    account: str
    address: str


def raise_if_blocked(*seconds: Decimal | None) -> None:
    """LockedOut if seconds of a wait are left."""
    if (longest := max((one for one in seconds if one is not None), default=Decimal(0))) > 0:
        raise LockedOut(retry_after=math.ceil(longest))


def count(session: Session, subject: str, slow_down: SlowDown, account: str | None = None) -> None:
    """Counts a failure and sets the subject's wait. `account` is stored beside the count of a source, to find it by.

    A failure during a wait, as one of many sent at once, is not counted and raises LockedOut, which does not reveal
    whether the password was right.
    """
    now, row = func.now(), SignInFailure
    longest_seconds = slow_down.longest_wait.total_seconds()
    worked_off = cast(func.floor(extract("epoch", now - row.failed_at) / longest_seconds), Integer)
    counting = (
        insert(row)
        .values(subject=subject, account=account, failures=1, failed_at=now)
        .on_conflict_do_update(
            index_elements=["subject"],
            set_={"failures": func.greatest(row.failures - worked_off, 0) + 1, "failed_at": now},
            where=or_(row.blocked_until.is_(None), row.blocked_until <= now),
        )
        .returning(row.failures)
    )
    failures = session.scalar(counting)
    if failures is None:
        left = select(STATE.c.own_seconds)
        raise_if_blocked(session.scalar(left, {"source": subject, "account": subject, "address": subject}))
    elif failures >= slow_down.tries:
        wait = min(SHORTEST_WAIT * 2 ** min(failures - slow_down.tries, MOST_DOUBLINGS), slow_down.longest_wait)
        session.execute(update(row).where(row.subject == subject).values(blocked_until=now + wait))


def clear(session: Session, subject: str) -> None:
    """Deletes the count of a subject, after a successful sign-in."""
    session.execute(delete(SignInFailure).where(SignInFailure.subject == subject))


def unlock(session: Session, account: str) -> None:
    """Deletes the count of an account and those of all sources at it, known or not."""
    session.execute(
        delete(SignInFailure).where(or_(SignInFailure.subject == account, SignInFailure.account == account))
    )
