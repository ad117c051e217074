"""Many rows in one statement, judged one by one: a row that Postgres refuses never spoils the rest.

The rows travel as one JSON text, which Postgres takes apart: a tenth of the work of a statement with a parameter for
every value. COPY would save little more, skips no duplicate, and could not be given up on in time (database.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, cast
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import (
    ARRAY,
    JSON,
    ColumnElement,
    Integer,
    Select,
    Table,
    Text,
    Uuid,
    any_,
    bindparam,
    case,
    column,
    func,
    literal,
    literal_column,
    select,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import InstrumentedAttribute, Session

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
    """Inserts rows that have an `id`, in the order of ids, so that two calls with the same rows cannot deadlock.
    All rows have the same columns.
    """
    first: dict[int, Values] = {}
    for row in rows:
        first.setdefault(_key(row), row)
    ordered = [first[key] for key in sorted(first)]
    outcomes = _together(session, table, ordered) or _apart(session, table, ordered)
    return [outcomes.pop(_key(row), DUPLICATE) for row in rows]


def _together(session: Session, table: type[Base], rows: Sequence[Values]) -> dict[int, Outcome] | None:
    """One statement for all. None when Postgres refused it because of some row."""
    if not rows:
        return {}
    try:
        with session.begin_nested():
            new = _send(session, table, rows)
    except (DBAPIError, ValueError) as error:
        reason(error)
        return None
    return {key: STORED if key in new else DUPLICATE for key in map(_key, rows)}


def _apart(session: Session, table: type[Base], rows: Sequence[Values]) -> dict[int, Outcome]:
    """One statement a row, each behind its own savepoint."""
    outcomes = {}
    for row in rows:
        try:
            with session.begin_nested():
                outcomes[_key(row)] = STORED if _send(session, table, [row]) else DUPLICATE
        except (DBAPIError, ValueError) as error:
            outcomes[_key(row)] = Outcome("refused", reason(error))
    return outcomes


def one_of(column: InstrumentedAttribute[UUID], ids: Iterable[UUID]) -> ColumnElement[bool]:
    """Whether a column holds one of many ids: as one text, where IN would make a parameter of each."""
    text = "{" + ",".join(key.hex for key in ids) + "}"
    return column == any_(sql_cast(literal(text, Text), ARRAY(Uuid)))


def _send(session: Session, table: type[Base], rows: Sequence[Values]) -> set[int]:
    """The ids that were not there yet. A number that is none travels as NaN or Infinity, which Postgres refuses."""
    statement = _statement(cast("Table", table.__table__), tuple(rows[0]))
    document = to_json(rows, inf_nan_mode="constants").decode()
    new = session.execute(statement, {"rows": document, "sent": len(rows)}).scalar_one()
    return set(map(_key, rows)) if new is None else {key.int for key in new}


@cache
def _statement(table: Table, names: tuple[str, ...]) -> Select[list[UUID] | None]:
    """Inserts these columns of the rows in the parameter `rows`, in their order. Answers the ids that are new, or NULL
    when all of the `sent` rows are: reading a thousand ids takes as long as writing a hundred rows.
    """
    document = sql_cast(bindparam("rows", type_=Text), JSON)
    columns = (column(name, table.c[name].type) for name in names)
    given = func.json_to_recordset(document).table_valued(*columns, name="given").render_derived(with_types=True)
    insert = upsert(table).from_select(names, select(given)).on_conflict_do_nothing(index_elements=["id"])
    new = insert.returning(literal_column("id", Uuid).label("id")).cte("new")
    ids = func.coalesce(func.array_agg(new.c.id, type_=ARRAY(Uuid)), literal_column("'{}'::uuid[]"))
    return select(case((func.count() < bindparam("sent", type_=Integer), ids))).select_from(new)


def reason(error: DBAPIError | ValueError) -> str:
    """Why Postgres, or the serialiser on its behalf, refused a row, in words of ours. Raises what is about no row."""
    if isinstance(error, ValueError):
        return ABOUT_A_ROW["22"]
    state = getattr(error.orig, "pgcode", None) or ""
    if error.connection_invalidated or state[:2] not in ABOUT_A_ROW:
        raise error
    return ABOUT_A_ROW[state[:2]]


def _key(row: Values) -> int:
    """The id as a number: it is hashed and compared several times faster than a UUID."""
    return cast("UUID", row["id"]).int
