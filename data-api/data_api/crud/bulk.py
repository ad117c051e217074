"""Inserts many rows in one statement. A row that Postgres refuses never affects the others.

The rows are sent as one JSON text, which Postgres parses: a tenth of the work of a statement with a parameter for each
value. COPY would save little more, cannot skip duplicates, and does not work with the wait timeout of database.py.
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
ROW_ERRORS = {
    "22": "Postgres cannot hold one of its values",
    "23": "it breaks a rule of its table",
    "54": "it is too large",
}
"""Classes of SQLSTATE that are caused by the row. Any other error fails the whole request."""


@dataclass(frozen=True)
class RowOutcome:
    """The outcome of one row. `stored` and `duplicate`: it is in Postgres. `refused`: it is not, for the `reason`."""

    status: Literal["stored", "duplicate", "refused"]
    reason: str | None = None


STORED, DUPLICATE = RowOutcome("stored"), RowOutcome("duplicate")


def insert(session: Session, table: type[Base], rows: Sequence[Values]) -> list[RowOutcome]:
    """Inserts rows that have an `id`, in the order of ids, so that two calls with the same rows cannot deadlock.
    All rows have the same columns.
    """
    keys = [cast("UUID", row["id"]).int for row in rows]  # hashed and compared several times faster than a UUID
    first = dict(zip(reversed(keys), reversed(rows), strict=True))
    ordered = {key: first[key] for key in sorted(first)}
    outcomes = _insert_all(session, table, ordered) or _insert_one_by_one(session, table, ordered)
    return [outcomes.pop(key, DUPLICATE) for key in keys]


def _insert_all(session: Session, table: type[Base], rows: Mapping[int, Values]) -> dict[int, RowOutcome] | None:
    """Inserts all rows in one statement; None if Postgres refused one of them."""
    if not rows:
        return {}
    try:
        with session.begin_nested():
            new = _execute(session, table, list(rows.values()))
    except (DBAPIError, ValueError) as error:
        refusal_reason(error)
        return None
    if new is None:
        return dict.fromkeys(rows, STORED)
    return dict.fromkeys(rows, DUPLICATE) | dict.fromkeys((key.int for key in new), STORED)


def _insert_one_by_one(session: Session, table: type[Base], rows: Mapping[int, Values]) -> dict[int, RowOutcome]:
    """Inserts each row in a statement and a savepoint of its own."""
    outcomes = {}
    for key, row in rows.items():
        try:
            with session.begin_nested():
                outcomes[key] = STORED if _execute(session, table, [row]) is None else DUPLICATE
        except (DBAPIError, ValueError) as error:
            outcomes[key] = RowOutcome("refused", refusal_reason(error))
    return outcomes


def one_of(column: InstrumentedAttribute[UUID], ids: Iterable[UUID]) -> ColumnElement[bool]:
    """Whether a column holds one of these ids, passed as one text parameter; IN would make a parameter of each."""
    text = "{" + ",".join(key.hex for key in ids) + "}"
    return column == any_(sql_cast(literal(text, Text), ARRAY(Uuid)))


def _execute(session: Session, table: type[Base], rows: Sequence[Values]) -> list[UUID] | None:
    """The ids that are new; None if all are. NaN and infinities are sent as such, so that Postgres refuses them."""
    statement = _statement(cast("Table", table.__table__), tuple(rows[0]))
    document = to_json(rows, inf_nan_mode="constants").decode()
    return session.execute(statement, {"rows": document, "row_count": len(rows)}).scalar_one()


@cache
def _statement(table: Table, names: tuple[str, ...]) -> Select[list[UUID] | None]:
    """Inserts these columns of the rows in the parameter `rows`, in their order. Returns the ids that are new, or NULL
    if all `row_count` rows are: reading 1,000 ids takes as long as writing 100 rows.
    """
    document = sql_cast(bindparam("rows", type_=Text), JSON)
    columns = (column(name, table.c[name].type) for name in names)
    sent = func.json_to_recordset(document).table_valued(*columns, name="sent").render_derived(with_types=True)
    insert = upsert(table).from_select(names, select(sent)).on_conflict_do_nothing(index_elements=["id"])
    new = insert.returning(literal_column("id", Uuid).label("id")).cte("new")
    ids = func.coalesce(func.array_agg(new.c.id, type_=ARRAY(Uuid)), literal_column("'{}'::uuid[]"))
    return select(case((func.count() < bindparam("row_count", type_=Integer), ids))).select_from(new)


def refusal_reason(error: DBAPIError | ValueError) -> str:
    """Why Postgres or the JSON serialiser refused a row, without its values. Re-raises errors not caused by a row."""
    if isinstance(error, ValueError):
        return ROW_ERRORS["22"]
    state = getattr(error.orig, "pgcode", None) or ""
    if error.connection_invalidated or state[:2] not in ROW_ERRORS:
        raise error
    return ROW_ERRORS[state[:2]]
