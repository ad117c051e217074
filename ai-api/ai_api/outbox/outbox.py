"""Predictions kept on disk until data-api has them: one SQLite file per process, many puts in one commit.

The caller of `put` goes on only when the commit that holds its rows is done, so killing the process at any moment loses
nothing that was answered. A file whose process died is taken over by any other process that sees the folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import json
import logging
import os
import queue
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from ai_api.errors import OutboxFull
from ai_api.metrics import OUTBOX_DEAD, OUTBOX_ROWS

log = logging.getLogger(__name__)

T = TypeVar("T")
EventKind = Literal["prediction", "feedback", "promotion"]

SCHEMA = """
create table if not exists events
    (seq integer primary key autoincrement, id text not null, kind text not null, body text not null);
create index if not exists events_id on events (id);
create table if not exists dead_letters
    (id text not null, kind text not null, body text not null, reason text not null);
"""
TAKE_OVER_CHUNK = 1_000
BURY = "insert into dead_letters (id, kind, body, reason) select id, kind, body, ? from events where seq = ?"
"""From the table and not from what was sent: what was erased meanwhile is not buried."""


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
        """Opens or makes the file; BlockingIOError when another process holds it."""
        self.path = path
        lock = path.with_suffix(".lock")
        self._lock = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not lock.exists() or os.fstat(self._lock).st_ino != lock.stat().st_ino:
                raise BlockingIOError("its last holder removed it in this moment")
            self.connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self.connection.execute("pragma journal_mode=wal")
            self.connection.execute(f"pragma synchronous={synchronous}")
            self.connection.execute("pragma secure_delete=on")  # what is deleted is overwritten, for erased people
            self.connection.executescript(SCHEMA)
        except BaseException:
            os.close(self._lock)
            raise

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        self.connection.execute("begin immediate")
        try:
            yield self.connection
            self.connection.execute("commit")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("rollback")
            raise

    def chunk(self, rows: int) -> list[tuple[int, str, str, str]]:
        """Its oldest events as (seq, id, kind, body)."""
        return self.connection.execute(
            "select seq, id, kind, body from events order by seq limit ?", (rows,)
        ).fetchall()

    def letters(self) -> list[tuple[str, str, str, str]]:
        """Its dead letters as (id, kind, body, reason)."""
        return self.connection.execute("select id, kind, body, reason from dead_letters").fetchall()

    def forget(self, last: int) -> None:
        """Deletes the events up to `last`, which another file has by now."""
        self.connection.execute("delete from events where seq <= ?", (last,))

    def close(self, *, remove: bool = False) -> None:
        self.connection.close()
        if remove:
            for path in (self.path, self.path.with_suffix(".lock")):
                path.unlink(missing_ok=True)
        os.close(self._lock)


def insert(connection: sqlite3.Connection, events: Sequence[tuple[str, str, str]]) -> None:
    connection.executemany("insert into events (id, kind, body) values (?, ?, ?)", events)


def bury(connection: sqlite3.Connection, letters: Sequence[tuple[str, str, str, str]]) -> None:
    connection.executemany("insert into dead_letters (id, kind, body, reason) values (?, ?, ?, ?)", letters)


def erase(connection: sqlite3.Connection, user_id: str) -> dict[str, int]:
    """Deletes what is of this person; how many rows of each table."""
    theirs = "instr(body, ?) and json_extract(body, '$.user_id') = ?"  # the first is quick and leaves few to parse
    return {
        name: connection.execute(f"delete from {table} where {theirs}", (user_id, user_id)).rowcount  # noqa: S608
        for name, table in (("outbox", "events"), ("dead_letters", "dead_letters"))
    }


def fresh_path(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"{uuid.uuid4().hex}.db"


def append_once(directory: Path, kind: EventKind, body: Mapping[str, object]) -> None:
    """Leaves one event in a file of its own, for ai-api to take over. For processes that do not serve: trainers."""
    file = OutboxFile(fresh_path(directory), "FULL")
    with file.transaction() as connection:
        insert(connection, [(str(body["id"]), kind, json.dumps(body))])
    file.close()


class Outbox:
    """The outbox of a serving process. All SQLite work is on one thread; what waits there is committed together."""

    def __init__(self, directory: Path, *, max_rows: int, synchronous: str = "NORMAL") -> None:
        self._directory = directory
        self.max_rows = max_rows
        self._synchronous = synchronous
        self._work: queue.SimpleQueue[tuple[Callable[[sqlite3.Connection], object], asyncio.Future[object]] | None] = (
            queue.SimpleQueue()
        )
        self._file = self._adopt() or OutboxFile(fresh_path(directory), synchronous)
        self.taken_over: list[str] = []
        """Names of the files whose rows came here, in that order."""
        self._wipes = False
        self._depth: int = self._file.connection.execute("select count(*) from events").fetchone()[0]
        self._dead: int = self._file.connection.execute("select count(*) from dead_letters").fetchone()[0]
        self._show()
        self._thread = threading.Thread(target=self._serve, name="outbox", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Rows that data-api does not have yet."""
        return self._depth

    @property
    def name(self) -> str:
        """The name of its file, which a restart keeps."""
        return self._file.path.stem

    @property
    def dead_letters(self) -> int:
        return self._dead

    def admit(self, rows: int) -> None:
        """OutboxFull when `rows` more would pass the bound. Asked before a model is called."""
        if self._depth + rows > self.max_rows:
            raise OutboxFull

    async def put(self, kind: EventKind, bodies: Sequence[Mapping[str, object]]) -> None:
        """Returns when all bodies are committed; OutboxFull when they cannot be (bound reached, disk full)."""
        self.admit(len(bodies))
        events = [(str(body["id"]), kind, json.dumps(body, separators=(",", ":"))) for body in bodies]
        self._count(
            len(events), 0
        )  # before the wait, so that callers at the same moment cannot pass the bound together
        try:
            await self._do(lambda connection: insert(connection, events))
        except sqlite3.Error as error:
            self._count(-len(events), 0)
            log.error("the outbox could not be written: %s", error)
            raise OutboxFull from error

    async def oldest(self, limit: int) -> list[OutboxEvent]:
        """The events that have waited longest, `limit` at most."""

        def read(connection: sqlite3.Connection) -> list[OutboxEvent]:
            found = connection.execute("select seq, id, kind, body from events order by seq limit ?", (limit,))
            return [OutboxEvent(seq, id_, kind, json.loads(body)) for seq, id_, kind, body in found]

        return await self._do(read)

    async def settle(self, done: Sequence[OutboxEvent], refused: Sequence[tuple[OutboxEvent, str]]) -> None:
        """Forgets what data-api has; keeps what it refuses for good, with the reason, among the dead letters."""

        def forget(connection: sqlite3.Connection) -> tuple[int, int]:
            buried = connection.executemany(BURY, [(reason, event.seq) for event, reason in refused]).rowcount
            gone = [(event.seq,) for event in (*done, *(event for event, _ in refused))]
            deleted = connection.executemany("delete from events where seq = ?", gone).rowcount
            return max(deleted, 0), max(buried, 0)  # -1: there was none to execute

        deleted, buried = await self._do(forget)
        self._count(-deleted, buried)

    async def forget(self, user_id: str) -> dict[str, int]:
        """Erases the rows and the dead letters of a person, from the disk too; how many of each.

        Rows that are being sent at this moment go as well, and are not buried when data-api refuses them.
        """

        def erase_theirs(connection: sqlite3.Connection) -> dict[str, int]:
            self._wipes = True
            return erase(connection, user_id)

        removed = await self._do(erase_theirs)
        self._count(-removed["outbox"], -removed["dead_letters"])
        return removed

    async def find(self, id_: str) -> dict[str, object] | None:
        """The prediction `id_`, if it still waits here."""

        def look(connection: sqlite3.Connection) -> dict[str, object] | None:
            found = connection.execute(
                "select body from events where id = ? and kind = 'prediction'", (id_,)
            ).fetchone()
            return json.loads(found[0]) if found else None

        return await self._do(look)

    async def take_over(self) -> int:
        """Moves the rows of files that nobody holds here; how many. A crash midway repeats rows, never loses them."""
        moved = 0
        for path in sorted(self._directory.glob("*.db")):
            if path == self._file.path:
                continue
            try:
                orphan = await asyncio.to_thread(OutboxFile, path, self._synchronous)
            except (BlockingIOError, FileNotFoundError):
                continue
            except (sqlite3.Error, OSError) as error:
                log.error("the outbox file %s cannot be opened: %s", path.name, error)
                continue
            is_empty = False
            try:
                moved += await self._empty(orphan)
                is_empty = True
                self.taken_over.append(path.stem)
            except sqlite3.Error as error:
                log.error("the outbox file %s cannot be taken over yet: %s", path.name, error)
            finally:
                await asyncio.to_thread(orphan.close, remove=is_empty)
        return moved

    async def _empty(self, orphan: OutboxFile) -> int:
        """Some rows at a time, so that answers are kept meanwhile. A row leaves the orphan once it is here."""
        moved = 0
        while found := await asyncio.to_thread(orphan.chunk, TAKE_OVER_CHUNK):
            await self._do(functools.partial(insert, events=[row[1:] for row in found]))
            self._count(len(found), 0)
            await asyncio.to_thread(orphan.forget, found[-1][0])
            moved += len(found)
        letters = await asyncio.to_thread(orphan.letters)
        await self._do(functools.partial(bury, letters=letters))
        self._count(0, len(letters))
        return moved

    def close(self) -> None:
        """Ends the thread after what waits there, and lets go of the file."""
        self._work.put(None)
        self._thread.join()
        self._file.close()

    def _adopt(self) -> OutboxFile | None:
        """The first file that nobody holds, so that a restart goes on with its own."""
        for path in sorted(self._directory.glob("*.db")):
            try:
                return OutboxFile(path, self._synchronous)
            except (BlockingIOError, sqlite3.Error, OSError):
                continue
        return None

    async def _do(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._work.put((operation, future))  # type: ignore[arg-type]
        return await future

    def _serve(self) -> None:
        """The thread: takes all that waits, runs it in one transaction, then tells everyone."""
        ending = False
        while not ending:
            waiting = [self._work.get()]
            while not self._work.empty():
                waiting.append(self._work.get())
            ending = None in waiting
            jobs = [item for item in waiting if item is not None]
            try:
                with self._file.transaction() as connection:
                    results = [operation(connection) for operation, _ in jobs]
                self._wipe()
            except Exception as error:
                for _, future in jobs:
                    deliver(future, error, failed=True)
            else:
                for (_, future), result in zip(jobs, results, strict=True):
                    deliver(future, result)

    def _wipe(self) -> None:
        """After an erasure: empties the write-ahead log, where older states of the file stand. Later if it is read."""
        if self._wipes:
            (is_read, *_) = self._file.connection.execute("pragma wal_checkpoint(truncate)").fetchone()
            self._wipes = bool(is_read)

    def _count(self, rows: int, dead: int) -> None:
        self._depth += rows
        self._dead += dead
        self._show()

    def _show(self) -> None:
        OUTBOX_ROWS.set(self._depth)
        OUTBOX_DEAD.set(self._dead)


def deliver(future: asyncio.Future[object], result: object, *, failed: bool = False) -> None:
    """Hands a result to a future of another thread's loop, which may be gone or have been left by its caller."""

    def give() -> None:
        if future.done():
            return
        if failed and isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)

    with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
        future.get_loop().call_soon_threadsafe(give)
