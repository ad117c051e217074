"""Predictions kept on disk until data-api has them: one SQLite file for each process, many puts in one commit.

`put` returns only when the commit that holds its rows is done, so killing the process at any moment loses no prediction
that a caller has received. The file of a process that ended is taken over by any other process that sees the folder.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ai_api.errors import OutboxFull
from ai_api.metrics import OUTBOX_DEAD, OUTBOX_ROWS
from ai_api.slices import in_slices

from .file import (
    EventKind,
    OutboxEvent,
    OutboxFile,
    erase_person,
    fresh_path,
    insert_dead_letters,
    insert_events,
    settle_events,
)
from .responses import (
    StoredResponse,
    delete_expired_responses,
    find_response,
    insert_response,
    insert_response_rows,
)
from .writer import OutboxWriter

log = logging.getLogger(__name__)

TAKE_OVER_CHUNK = 1_000
MOST_DEAD_FEEDBACK = 1_000
"""Most dead letters of one person's feedback."""
RESPONSES_CHUNK = 100


def append_once(directory: Path, kind: EventKind, body: Mapping[str, object]) -> None:
    """Writes one event into a file of its own, for ai-api to take over. For processes that do not serve: trainers."""
    file = OutboxFile(fresh_path(directory), "FULL")
    with file.transaction() as connection:
        insert_events(connection, [(str(body["id"]), kind, json.dumps(body))])
    file.close()


def adopt_file(directory: Path, synchronous: str) -> OutboxFile | None:
    """The first file that no process holds, so that a restarted process continues with its own."""
    for path in sorted(directory.glob("*.db")):
        try:
            return OutboxFile(path, synchronous)
        except (BlockingIOError, sqlite3.Error, OSError):
            continue
    return None


class Outbox:
    """The outbox of a serving process. All SQLite work is on the writer's thread."""

    def __init__(self, directory: Path, *, max_rows: int, synchronous: str = "NORMAL") -> None:
        self.max_rows = max_rows
        self.taken_over: list[str] = []
        """Names of the files whose rows were moved here, in that order."""
        self._directory = directory
        self._synchronous = synchronous
        self._file = adopt_file(directory, synchronous) or OutboxFile(fresh_path(directory), synchronous)
        self._depth, self._dead = self._file.counts()
        self._dead_feedback = Counter(self._file.dead_feedback())
        self._show()
        self._writer = OutboxWriter(self._file)

    def __len__(self) -> int:
        """Rows that data-api does not have yet."""
        return self._depth

    @property
    def name(self) -> str:
        """The name of its file, which stays the same after a restart. data-api knows this instance by it."""
        return self._file.path.stem

    @property
    def dead_letters(self) -> int:
        """Rows that data-api refused for good."""
        return self._dead

    def admit(self, rows: int) -> None:
        """OutboxFull when `rows` more would exceed the bound. Called before the model is."""
        if self._depth + rows > self.max_rows:
            raise OutboxFull

    async def put(
        self, kind: EventKind, bodies: Sequence[Mapping[str, object]], response: StoredResponse | None = None
    ) -> None:
        """Returns when all bodies are committed, and the response to the request that brings them in the same commit;
        OutboxFull when they cannot be (bound reached, disk full).
        """
        self.admit(len(bodies))
        self._count(len(bodies), 0)  # before the wait, so that concurrent callers cannot exceed the bound together
        try:
            events = [
                (str(body["id"]), kind, json.dumps(body, separators=(",", ":"))) async for body in in_slices(bodies)
            ]
        except BaseException:
            self._count(-len(bodies), 0)
            raise

        def insert(connection: sqlite3.Connection) -> None:
            insert_events(connection, events)
            if response is not None:
                insert_response(connection, response)

        try:
            await self._writer.run(insert)
        except sqlite3.Error as error:
            self._count(-len(events), 0)
            log.error("the outbox could not be written: %s", error)
            raise OutboxFull from error

    async def oldest(self, limit: int) -> list[OutboxEvent]:
        """The events that have waited longest, `limit` at most."""

        def read(connection: sqlite3.Connection) -> list[OutboxEvent]:
            rows = connection.execute("select seq, id, kind, body from events order by seq limit ?", (limit,))
            return [OutboxEvent(seq, id_, kind, json.loads(body)) for seq, id_, kind, body in rows]

        return await self._writer.run(read)

    async def settle(self, done: Sequence[OutboxEvent], refused: Sequence[tuple[OutboxEvent, str]]) -> None:
        """Deletes the events that data-api has, and moves refused ones to the dead letters with the reason.

        Feedback of a person with MOST_DEAD_FEEDBACK dead letters is not kept: nobody fills the disk with corrections.
        """
        kept: list[tuple[OutboxEvent, str]] = []
        dropped: list[OutboxEvent] = []
        for event, reason in refused:
            if self._keeps(event):
                kept.append((event, reason))
            else:
                dropped.append(event)
        if dropped:
            log.error("%d refused corrections were deleted: their callers have too many dead letters", len(dropped))
        deleted, moved = await self._writer.run(functools.partial(settle_events, done=[*done, *dropped], refused=kept))
        self._count(-deleted, moved)

    def _keeps(self, event: OutboxEvent) -> bool:
        """Whether a refused event becomes a dead letter; counts it."""
        if event.kind != "feedback":
            return True
        caller = str(event.body.get("user_id"))
        if self._dead_feedback[caller] >= MOST_DEAD_FEEDBACK:
            return False
        self._dead_feedback[caller] += 1
        return True

    async def erase(self, user_id: str) -> dict[str, int]:
        """Erases the events, dead letters and responses of a person, on the disk too; how many of each.

        Events that are being sent are erased as well, and give no dead letter when data-api refuses them.
        """

        def operation(connection: sqlite3.Connection) -> dict[str, int]:
            self._writer.truncate_wal()
            return erase_person(connection, user_id)

        removed = await self._writer.run(operation)
        self._dead_feedback.pop(user_id, None)
        self._count(-removed["outbox"], -removed["dead_letters"])
        return removed

    async def find(self, id_: str) -> dict[str, object] | None:
        """The body of the prediction `id_`, if it still waits here."""

        def read(connection: sqlite3.Connection) -> dict[str, object] | None:
            row = connection.execute("select body from events where id = ? and kind = 'prediction'", (id_,)).fetchone()
            return json.loads(row[0]) if row else None

        return await self._writer.run(read)

    async def response(self, id_: str) -> StoredResponse | None:
        """The response that is stored under this id, for a day at most."""
        return await self._writer.run(functools.partial(find_response, id_=id_))

    async def expire_responses(self) -> None:
        """Deletes the responses that have expired."""
        await self._writer.run(delete_expired_responses)

    async def take_over(self) -> int:
        """Moves the rows of files that no process holds here; how many. A crash midway repeats rows, never loses
        them.
        """
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
            moved += await self._take_over(orphan)
        return moved

    async def _take_over(self, orphan: OutboxFile) -> int:
        """Moves what one file holds, deletes the file if that worked, and closes it."""
        is_empty, moved = False, 0
        try:
            moved = await self._empty(orphan)
            is_empty = True
            self.taken_over.append(orphan.path.stem)
        except sqlite3.Error as error:
            log.error("the outbox file %s cannot be taken over yet: %s", orphan.path.name, error)
        finally:
            await asyncio.to_thread(orphan.close, remove=is_empty)
        return moved

    async def _empty(self, orphan: OutboxFile) -> int:
        """Moves chunk by chunk, so that predictions are stored meanwhile. A row leaves the orphan once it is here."""
        moved = 0
        while rows := await asyncio.to_thread(orphan.chunk, TAKE_OVER_CHUNK):
            await self._writer.run(functools.partial(insert_events, events=[row[1:] for row in rows]))
            self._count(len(rows), 0)
            await asyncio.to_thread(orphan.delete_up_to, rows[-1][0])
            moved += len(rows)
        letters = await asyncio.to_thread(orphan.dead_letters)
        await self._writer.run(functools.partial(insert_dead_letters, letters=letters))
        self._count(0, len(letters))
        self._dead_feedback.update(await asyncio.to_thread(orphan.dead_feedback))
        while responses := await asyncio.to_thread(orphan.responses, RESPONSES_CHUNK):
            await self._writer.run(functools.partial(insert_response_rows, rows=[row[1:] for row in responses]))
            await asyncio.to_thread(orphan.delete_responses_up_to, responses[-1][0])
        return moved

    def close(self) -> None:
        """Ends the writer's thread after the operations that wait, and releases the file."""
        self._writer.close()

    def _count(self, rows: int, dead: int) -> None:
        self._depth += rows
        self._dead += dead
        self._show()

    def _show(self) -> None:
        OUTBOX_ROWS.set(self._depth)
        OUTBOX_DEAD.set(self._dead)
