"""A training in a child process, so that it can be stopped and a crash does not end the trainer.

The child writes events as lines of JSON, `{"kind": …, …}`, to its stdout; the last one is a "result" or an "error". The
child reads its stdin and ends when the parent has closed it by ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Mapping, Sequence

TERMINATE_SECONDS = 3


class Child:
    """A running child process, seen from its parent."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, command: Sequence[str]) -> Child:
        return cls(
            await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**24
            )
        )

    async def events(self) -> AsyncIterator[dict[str, object]]:
        """The child's events until it closes its stdout. A line that is not an event goes to our stderr."""
        lines = self._process.stdout
        while lines is not None and (line := await lines.readline()):
            try:
                event = json.loads(line, parse_constant=lambda _: None)  # Postgres takes no NaN and no infinity
                yield {"kind": str(event["kind"]), **event}
            except (ValueError, KeyError, TypeError):
                sys.stderr.write(line.decode(errors="replace"))

    async def exit_status(self) -> int:
        """Its exit status, or minus the number of the signal that ended it. A child that does not end is stopped."""
        try:
            return await asyncio.wait_for(self._process.wait(), TERMINATE_SECONDS)
        except TimeoutError:
            await self.stop()
            return await self._process.wait()

    async def stop(self) -> None:
        """Sends SIGTERM, and SIGKILL after TERMINATE_SECONDS. Returns when the process has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), TERMINATE_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


class ChildOutput:
    """Writes events in the child process. Keeps the real stdout for itself: what libraries print goes to stderr."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        threading.Thread(target=self._end_with_parent, daemon=True).start()

    def __call__(self, kind: str, data: Mapping[str, object]) -> None:
        self._out.write(json.dumps({"kind": kind, **data}) + "\n")

    @staticmethod
    def _end_with_parent() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGKILL)
