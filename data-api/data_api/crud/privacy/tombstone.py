"""Handling of rows that arrive after their person was erased.

Ingest reads the tombstones under a lock that it shares with other ingests and that a new tombstone takes exclusively.
So either an ingest commits before the tombstone, and its rows are erased, or it sees the tombstone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import cast
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from data_api.crud import advisory_lock
from data_api.crud.bulk import RowOutcome, Values, one_of
from data_api.models.privacy.erasure import Erasure

INGEST_LOCK = 0x657261736564
"""Key of the advisory lock between ingest (shared) and new tombstones (exclusive): "erased" in ASCII."""
REFUSED = RowOutcome("refused", "Its user was erased.")


def lock_out_ingest(session: Session) -> None:
    """Waits until every running ingest has ended, and blocks new ones until this transaction ends."""
    advisory_lock.lock(session, INGEST_LOCK)


def erased_users(session: Session, rows: Sequence[Values]) -> set[UUID]:
    """The users of these rows who are erased."""
    users = {user for user in cast("Iterable[UUID | None]", (row["user_id"] for row in rows)) if user}
    if not users:
        return set()
    advisory_lock.lock_shared(session, INGEST_LOCK)
    return set(session.scalars(select(Erasure.user_id).where(one_of(Erasure.user_id, users))))


def without_erased_people(session: Session, rows: Sequence[Values]) -> Sequence[Values]:
    """The predictions; those of erased people lose user, row and request id. They still count for statistics."""
    erased = erased_users(session, rows)
    if not erased:
        return rows
    blanked: Values = {"user_id": None, "row": {}, "request_id": None}
    return [{**row, **blanked} if row["user_id"] in erased else row for row in rows]


def store_or_refuse(
    session: Session, rows: Sequence[Values], store: Callable[[Sequence[Values]], list[RowOutcome]]
) -> list[RowOutcome]:
    """Stores the rows of people who are not erased and refuses the others; one outcome per row."""
    erased = erased_users(session, rows)
    stored = iter(store([row for row in rows if row["user_id"] not in erased]))
    return [REFUSED if row["user_id"] in erased else next(stored) for row in rows]
