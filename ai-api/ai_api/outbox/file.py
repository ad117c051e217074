"""One SQLite file of the outbox, locked by the process that uses it, and the statements on its tables."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .responses import COLUMNS
from .responses import SCHEMA as RESPONSES

EventKind = Literal["prediction", "feedback", "promotion"]

SCHEMA = """
create table if not exists events
    (seq integer primary key autoincrement, id text not null, kind text not null, body text not null);
create index if not exists events_id on events (id);
create table if not exists dead_letters
    (id text not null, kind text not null, body text not null, reason text not null);
"""
MOVE = "insert into dead_letters (id, kind, body, reason) select id, kind, body, ? from events where seq = ?"
"""Copies from the table, not from what was sent: an event that was erased meanwhile gives no dead letter."""


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """One row on its way to data-api. `body` is what data-api's bulk call for `kind` takes, with the id inside."""

    seq: int
    id: str
    kind: str
    body: dict[str, object]


class OutboxFile:
    """One outbox file, held by an advisory lock for as long as this object is open. Every call blocks."""

    def __init__(self, path: Path, synchronous: str = "NORMAL") -> None:
        """Opens or creates the file; BlockingIOError when another process holds it."""
        self.path = path
        lock = path.with_suffix(".lock")
        self._lock = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not lock.exists() or os.fstat(self._lock).st_ino != lock.stat().st_ino:
                raise BlockingIOError("its last holder has just removed it")
            self.connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self.connection.execute("pragma journal_mode=wal")
            self.connection.execute(f"pragma synchronous={synchronous}")
            self.connection.execute("pragma secure_delete=on")  # deleted rows are overwritten, for erased people
            self.connection.executescript(SCHEMA + RESPONSES)
        except BaseException:
            os.close(self._lock)
            raise

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commits at the end of the block, rolls back when it raises."""
        self.connection.execute("begin immediate")
        try:
            yield self.connection
            self.connection.execute("commit")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("rollback")
            raise

    def chunk(self, rows: int) -> list[tuple[int, str, str, str]]:
        """The oldest events as (seq, id, kind, body)."""
        return self.connection.execute(
            "select seq, id, kind, body from events order by seq limit ?", (rows,)
        ).fetchall()

    def dead_letters(self) -> list[tuple[str, str, str, str]]:
        """The dead letters as (id, kind, body, reason)."""
        return self.connection.execute("select id, kind, body, reason from dead_letters").fetchall()

    def dead_feedback(self) -> dict[str, int]:
        """How many dead letters are feedback, by the person who gave it."""
        counted = (
            "select json_extract(body, '$.user_id'), count(*) from dead_letters where kind = 'feedback' group by 1"
        )
        return {str(user_id): count for user_id, count in self.connection.execute(counted)}

    def responses(self, rows: int) -> list[tuple[object, ...]]:
        """The oldest responses: seq, then the values of COLUMNS."""
        return self.connection.execute(
            f"select seq, {COLUMNS} from responses order by seq limit ?",  # noqa: S608
            (rows,),
        ).fetchall()

    def counts(self) -> tuple[int, int]:
        """How many events and how many dead letters."""
        (events,) = self.connection.execute("select count(*) from events").fetchone()
        (dead,) = self.connection.execute("select count(*) from dead_letters").fetchone()
        return events, dead

    def delete_up_to(self, seq: int) -> None:
        """Deletes the events up to `seq`, which another file has by now."""
        self.connection.execute("delete from events where seq <= ?", (seq,))

    def delete_responses_up_to(self, seq: object) -> None:
        """The same for responses."""
        self.connection.execute("delete from responses where seq <= ?", (seq,))

    def close(self, *, remove: bool = False) -> None:
        """Closes the file and releases its lock; with `remove` the file is deleted."""
        self.connection.close()
        if remove:
            for path in (self.path, self.path.with_suffix(".lock")):
                path.unlink(missing_ok=True)
        os.close(self._lock)


def fresh_path(directory: Path) -> Path:
    """A name in the directory that no other file has."""
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"{uuid.uuid4().hex}.db"


def insert_events(connection: sqlite3.Connection, events: Sequence[tuple[str, str, str]]) -> None:
    """Adds events given as (id, kind, body)."""
    connection.executemany("insert into events (id, kind, body) values (?, ?, ?)", events)


def insert_dead_letters(connection: sqlite3.Connection, letters: Sequence[tuple[str, str, str, str]]) -> None:
    """Adds dead letters given as (id, kind, body, reason)."""
    connection.executemany("insert into dead_letters (id, kind, body, reason) values (?, ?, ?, ?)", letters)


def settle_events(
    connection: sqlite3.Connection, done: Sequence[OutboxEvent], refused: Sequence[tuple[OutboxEvent, str]]
) -> tuple[int, int]:
    """Deletes events that data-api has, and moves refused ones with their reason; (events gone, new dead letters)."""
    moved = connection.executemany(MOVE, [(reason, event.seq) for event, reason in refused]).rowcount
    seqs = [(event.seq,) for event in (*done, *(event for event, _ in refused))]
    deleted = connection.executemany("delete from events where seq = ?", seqs).rowcount
    return max(deleted, 0), max(moved, 0)  # -1: there was nothing to execute


def erase_person(connection: sqlite3.Connection, user_id: str) -> dict[str, int]:
    """Deletes what belongs to this person; how many rows of the outbox, of the dead letters and of the responses."""
    condition = "instr(body, ?) and json_extract(body, '$.user_id') = ?"  # the first is quick and leaves few to parse
    removed = {
        name: connection.execute(f"delete from {table} where {condition}", (user_id, user_id)).rowcount  # noqa: S608
        for name, table in (("outbox", "events"), ("dead_letters", "dead_letters"))
    }
    responses = connection.execute("delete from responses where user_id = ?", (user_id,)).rowcount
    return {**removed, "responses": responses}
