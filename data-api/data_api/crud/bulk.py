"""Many rows in one statement, judged one by one: a row that Postgres refuses never spoils the rest.

The rows travel as one JSON text, which Postgres takes apart: a tenth of the work of a statement with a parameter for
every value. COPY would save little more, skips no duplicate, and could not be given up on in time (database.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    keys = [cast("UUID", row["id"]).int for row in rows]  # hashed and compared several times faster than a UUID
    first = dict(zip(reversed(keys), reversed(rows), strict=True))
    ordered = {key: first[key] for key in sorted(first)}
    outcomes = _together(session, table, ordered) or _apart(session, table, ordered)
    return [outcomes.pop(key, DUPLICATE) for key in keys]


def _together(session: Session, table: type[Base], rows: Mapping[int, Values]) -> dict[int, Outcome] | None:
    """One statement for all. None when Postgres refused it because of some row."""
    if not rows:
        return {}
    try:
        with session.begin_nested():
            new = _send(session, table, list(rows.values()))
    except (DBAPIError, ValueError) as error:
        reason(error)
        return None
    if new is None:
        return dict.fromkeys(rows, STORED)
    return dict.fromkeys(rows, DUPLICATE) | dict.fromkeys((key.int for key in new), STORED)


def _apart(session: Session, table: type[Base], rows: Mapping[int, Values]) -> dict[int, Outcome]:
    """One statement a row, each behind its own savepoint."""
    outcomes = {}
    for key, row in rows.items():
        try:
            with session.begin_nested():
                outcomes[key] = STORED if _send(session, table, [row]) is None else DUPLICATE
        except (DBAPIError, ValueError) as error:
            outcomes[key] = Outcome("refused", reason(error))
    return outcomes


def one_of(column: InstrumentedAttribute[UUID], ids: Iterable[UUID]) -> ColumnElement[bool]:
    """Whether a column holds one of many ids: as one text, where IN would make a parameter of each."""
    text = "{" + ",".join(key.hex for key in ids) + "}"
    return column == any_(sql_cast(literal(text, Text), ARRAY(Uuid)))


def _send(session: Session, table: type[Base], rows: Sequence[Values]) -> list[UUID] | None:
    """The ids that are new; None when all are. A number that is none travels as NaN or Infinity, to be refused."""
    statement = _statement(cast("Table", table.__table__), tuple(rows[0]))
    document = to_json(rows, inf_nan_mode="constants").decode()
    return session.execute(statement, {"rows": document, "sent": len(rows)}).scalar_one()


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
