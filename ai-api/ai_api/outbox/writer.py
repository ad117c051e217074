"""The thread that runs every operation on an outbox file. Operations that wait together share one commit."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import TypeVar

from .file import OutboxFile

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], object]


class OutboxWriter:
    """Group commit: one fsync for all operations that wait, however many requests are in flight."""

    def __init__(self, file: OutboxFile) -> None:
        self._file = file
        self._wal_holds_erased_rows = False
        self._queue: queue.SimpleQueue[tuple[Operation, asyncio.Future[object]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name="outbox", daemon=True)
        self._thread.start()

    async def run(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Runs the operation on the thread and returns its result once it is committed; raises what it raises."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put((operation, future))  # type: ignore[arg-type]
        return await future

    def truncate_wal(self) -> None:
        """Called within an operation that erases: after its commit the write-ahead log, which holds older states of
        the file, is truncated. Later if another connection reads it at that moment.
        """
        self._wal_holds_erased_rows = True

    def close(self) -> None:
        """Ends the thread after the operations that wait, and closes the file."""
        self._queue.put(None)
        self._thread.join()
        self._file.close()

    def _loop(self) -> None:
        ending = False
        while not ending:
            waiting = [self._queue.get()]
            while not self._queue.empty():
                waiting.append(self._queue.get())
            ending = None in waiting
            self._commit([entry for entry in waiting if entry is not None])

    def _commit(self, entries: list[tuple[Operation, asyncio.Future[object]]]) -> None:
        """Runs the operations in one transaction; all of them fail when one does."""
        try:
            with self._file.transaction() as connection:
                results = [operation(connection) for operation, _ in entries]
            self._truncate()
        except Exception as error:
            for _, future in entries:
                resolve(future, error, failed=True)
        else:
            for (_, future), result in zip(entries, results, strict=True):
                resolve(future, result)

    def _truncate(self) -> None:
        if self._wal_holds_erased_rows:
            (is_read, *_) = self._file.connection.execute("pragma wal_checkpoint(truncate)").fetchone()
            self._wal_holds_erased_rows = bool(is_read)


def resolve(future: asyncio.Future[object], result: object, *, failed: bool = False) -> None:
    """Sets the result of a future of another thread's loop. The loop may be closed or the caller gone by now."""

    def set_result() -> None:
        if future.done():
            return
        if failed and isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)

    with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
        future.get_loop().call_soon_threadsafe(set_result)
