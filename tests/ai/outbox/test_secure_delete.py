"""Deleted rows are overwritten in the outbox file: neither data nor free pages hold them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ai_api.outbox.file import OutboxFile, erase_person, fresh_path, insert_events

SECRET = "the neighbours dog is called Zwiebel"


def body(user_id: str, number: int = 0, text: str = SECRET) -> str:
    return f'{{"id":"{user_id}-{number}","row":{{"text":"{text}"}},"user_id":"{user_id}"}}'


def settle_all(connection: sqlite3.Connection, file: OutboxFile) -> None:
    file.delete_up_to(10**9)


def erase_ann(connection: sqlite3.Connection, file: OutboxFile) -> None:
    erase_person(connection, "ann")


@pytest.mark.parametrize("count", [1, 50, 2_000])
@pytest.mark.parametrize("delete", [settle_all, erase_ann])
def test_deleted_rows_are_not_found_in_the_bytes_of_the_file(
    tmp_path: Path, delete: Callable[[sqlite3.Connection, OutboxFile], None], count: int
) -> None:
    file = OutboxFile(fresh_path(tmp_path))
    with file.transaction() as connection:
        insert_events(connection, [(f"ann-{n}", "prediction", body("ann", n)) for n in range(count)])
        insert_events(connection, [("bob", "prediction", body("bob", text="rain"))])
    file.connection.execute("pragma wal_checkpoint(truncate)")
    assert SECRET.encode() in file.path.read_bytes(), "the rows were in the file itself, not only in its log"
    with file.transaction() as connection:
        delete(connection, file)
    file.connection.execute("pragma wal_checkpoint(truncate)")
    assert SECRET.encode() not in file.path.read_bytes()
    file.close()
