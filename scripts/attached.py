"""Runs a program that ends with its caller: python -m scripts.attached PROGRAM …

The caller holds the other end of stdin and writes nothing. When the caller ends, in any way, or this process gets a
signal, the program and all processes of its group get SIGTERM, and SIGKILL after GRACE_SECONDS.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
"""Signals that end a command."""
GRACE_SECONDS = 15


def attached(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], output: IO[str] | None = None
) -> subprocess.Popen[bytes]:
    """A process that runs the command in a folder, and ends when this one does."""
    error = None if output is None else subprocess.STDOUT
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.attached", *command],
        stdin=subprocess.PIPE, stdout=output, stderr=error, cwd=folder, env=dict(environment),
    )  # fmt: skip


def exit_by_signal(number: int, _: object) -> None:
    """A handler that leaves by an exception, so that every block on the way ends what it has started."""
    sys.exit(128 + number)


def main() -> int:
    """The status of the program; 128 and the signal's number if a signal ended it."""
    asked = threading.Event()
    for number in ENDING:
        signal.signal(number, lambda *_: asked.set())
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=wait_for_caller, args=(asked,), daemon=True).start()
    threading.Thread(target=end_when_asked, args=(asked, process), daemon=True).start()
    status = process.wait()
    signal_group(process.pid, signal.SIGKILL)  # what it has left behind
    return status if status >= 0 else 128 - status


def wait_for_caller(asked: threading.Event) -> None:
    """Returns when the caller has ended, which closes the other end of stdin."""
    while os.read(0, 1024):
        pass
    asked.set()


def end_when_asked(asked: threading.Event, process: subprocess.Popen[bytes]) -> None:
    asked.wait()
    signal_group(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)
    signal_group(process.pid, signal.SIGKILL)


def signal_group(leader: int, number: int) -> None:
    """Sends a signal to the processes of a group, if there are any."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


if __name__ == "__main__":
    sys.exit(main())
