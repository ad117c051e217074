"""Responses to requests with an `Idempotency-Key`, in an outbox file: the response to a repetition of the request."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

LIFETIME_SECONDS = 86_400.0
MAX_RESPONSES, MAX_BYTES = 1_000, 16 * 2**20
"""The most that is kept for one caller; the newest is always kept."""

SCHEMA = """
create table if not exists responses
    (seq integer primary key autoincrement, id text not null unique, user_id text not null, request text not null,
     body blob not null, created_at real not null);
create index if not exists responses_user on responses (user_id, seq, length(body));
create index if not exists responses_created_at on responses (created_at);
"""
COLUMNS = "id, user_id, request, body, created_at"
DELETE_OLDEST = """
delete from responses where seq in (
    select seq from (
        select seq, row_number() over newest as place, sum(length(body)) over newest as bytes
        from responses where user_id = ? window newest as (order by seq desc)
    ) where place > ? or (place > 1 and bytes > ?)
)
"""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """The JSON of a response. `id`: digest of caller, call and key; `request`: digest of what was sent with the key."""

    id: str
    user_id: str
    request: str
    body: bytes


def insert_response(connection: sqlite3.Connection, response: StoredResponse) -> None:
    """Adds a response, and deletes those that have expired or are over the bounds of this caller."""
    delete_expired_responses(connection)
    values = (response.id, response.user_id, response.request, response.body, time.time())
    insert_response_rows(connection, [values])


def insert_response_rows(connection: sqlite3.Connection, rows: Sequence[tuple[object, ...]]) -> None:
    """Adds rows as `response_rows` returns them, without their seq. One that is there already stays."""
    connection.executemany(f"insert or ignore into responses ({COLUMNS}) values (?, ?, ?, ?, ?)", rows)  # noqa: S608
    for user_id in {row[1] for row in rows}:
        connection.execute(DELETE_OLDEST, (user_id, MAX_RESPONSES, MAX_BYTES))


def find_response(connection: sqlite3.Connection, id_: str) -> StoredResponse | None:
    """The response with this id, unless it has expired."""
    row = connection.execute(
        "select id, user_id, request, body from responses where id = ? and created_at > ?",
        (id_, time.time() - LIFETIME_SECONDS),
    ).fetchone()
    return StoredResponse(*row) if row else None


def delete_expired_responses(connection: sqlite3.Connection) -> None:
    connection.execute("delete from responses where created_at <= ?", (time.time() - LIFETIME_SECONDS,))
