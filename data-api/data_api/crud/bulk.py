"""Many rows in one statement, judged one by one: a row that Postgres refuses never spoils the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast
from uuid import UUID

from sqlalchemy import Table, Uuid, literal_column
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from data_api.database import Base

Values = dict[str, object]
ABOUT_A_ROW = {
    "22": "Postgres cannot hold one of its values",
    "23": "it breaks a rule of its table",
    "54": "it is too large",
}
"""Classes of SQLSTATE that blame the row. Any other error is about the service and fails the whole call."""


@dataclass(frozen=True)
class Outcome:
    """What became of a row. Stored and duplicate mean that it is there; refused that it never will be."""

    status: Literal["stored", "duplicate", "refused"]
    reason: str | None = None


STORED, DUPLICATE = Outcome("stored"), Outcome("duplicate")


def insert(session: Session, table: type[Base], rows: Sequence[Values]) -> list[Outcome]:
    """Inserts rows that have an `id`, in the order of ids, so that two calls with the same rows cannot deadlock."""
    first: dict[UUID, Values] = {}
    for row in rows:
        first.setdefault(_id(row), row)
    ordered = [first[key] for key in sorted(first)]
    outcomes = _together(session, table, ordered) or _apart(session, table, ordered)
    return [outcomes.pop(_id(row), DUPLICATE) for row in rows]


def _together(session: Session, table: type[Base], rows: Sequence[Values]) -> dict[UUID, Outcome] | None:
    """One statement for all. None when Postgres refused it because of some row."""
    if not rows:
        return {}
    statement = new(table)
    try:
        with session.begin_nested():
            stored = set(session.scalars(statement, list(rows)))
    except (DBAPIError, ValueError) as error:
        reason(error)
        return None
    return {_id(row): STORED if _id(row) in stored else DUPLICATE for row in rows}


def _apart(session: Session, table: type[Base], rows: Sequence[Values]) -> dict[UUID, Outcome]:
    """One statement a row, each behind its own savepoint."""
    statement = new(table)
    outcomes = {}
    for row in rows:
        try:
            with session.begin_nested():
                stored = session.scalar(statement, row)
            outcomes[_id(row)] = STORED if stored else DUPLICATE
        except (DBAPIError, ValueError) as error:
            outcomes[_id(row)] = Outcome("refused", reason(error))
    return outcomes


def new(table: type[Base]) -> ReturningInsert[UUID]:
    """Inserts and answers the ids that were not there yet."""
    return (
        upsert(cast("Table", table.__table__))
        .on_conflict_do_nothing(index_elements=["id"])
        .returning(literal_column("id", Uuid))
    )


def reason(error: DBAPIError | ValueError) -> str:
    """Why Postgres, or the driver on its behalf, refused a row, in words of ours. Raises what is about no row."""
    if isinstance(error, ValueError):
        return ABOUT_A_ROW["22"]
    state = getattr(error.orig, "pgcode", None) or ""
    if error.connection_invalidated or state[:2] not in ABOUT_A_ROW:
        raise error
    return ABOUT_A_ROW[state[:2]]


def _id(row: Values) -> UUID:
    return cast("UUID", row["id"])
