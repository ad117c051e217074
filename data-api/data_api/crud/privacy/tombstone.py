"""What ingest does with late rows of people who were erased.

Whether somebody is erased is asked under a lock that every ingest shares and a new tombstone holds alone. So an ingest
either is committed before the tombstone, and its rows are there to be erased, or sees the tombstone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import cast
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from data_api.crud import advisory_lock
from data_api.crud.bulk import Outcome, Values, one_of
from data_api.models.privacy.erasure import Erasure

INGEST_LOCK = 0x657261736564
"""Key of the advisory lock between ingest (shared) and new tombstones (exclusive): "erased" in ASCII."""
REFUSED = Outcome("refused", "Its user was erased.")


def lock_out_ingest(session: Session) -> None:
    """Waits until every running ingest has ended, and blocks new ones until this transaction ends."""
    advisory_lock.lock(session, INGEST_LOCK)


def among(session: Session, rows: Sequence[Values]) -> set[UUID]:
    """Those of the rows' users who are erased."""
    users = {user for user in cast("Iterable[UUID | None]", (row["user_id"] for row in rows)) if user}
    if not users:
        return set()
    advisory_lock.lock_shared(session, INGEST_LOCK)
    return set(session.scalars(select(Erasure.user_id).where(one_of(Erasure.user_id, users))))


def anonymised(session: Session, rows: Sequence[Values]) -> Sequence[Values]:
    """The predictions with nothing in them of people who are erased: they count, and nobody asked them."""
    erased = among(session, rows)
    if not erased:
        return rows
    nobody: Values = {"user_id": None, "row": {}, "request_id": None}
    return [{**row, **nobody} if row["user_id"] in erased else row for row in rows]


def refusing(
    session: Session, rows: Sequence[Values], store: Callable[[Sequence[Values]], list[Outcome]]
) -> list[Outcome]:
    """Stores the rows of people who are not erased, and refuses the others."""
    erased = among(session, rows)
    stored = iter(store([row for row in rows if row["user_id"] not in erased]))
    return [REFUSED if row["user_id"] in erased else next(stored) for row in rows]
