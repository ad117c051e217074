"""One process that is kept running: its lines are tagged, its death is said, and it is started again."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .account import PopenOptions

Say = Callable[[str, str], None]
"""Takes the name of who speaks and one line."""

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 10.0
"""A service that ran this long is started again at once; one that dies sooner waits twice as long each time."""


@dataclass(frozen=True)
class Plan:
    """What a service is. `after` names those that must be ready first; a plan with `once` runs to its end, one time."""

    name: str
    command: Sequence[str]
    is_ready: Callable[[], bool] = lambda: True
    after: tuple[str, ...] = ()
    once: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] = lambda: None
    folder: Path | None = None
    """Where the process starts, if not in the folder of the stack."""
    options: PopenOptions = field(default_factory=PopenOptions)
    stop_signal: int = signal.SIGTERM
    grace_seconds: float = 15


class Service:
    """A plan that runs. Every process leads its own session, so that a Ctrl-C meant for the supervisor spares it."""

    def __init__(self, plan: Plan, folder: Path, log: Path, say: Say) -> None:
        self.plan = plan
        self.folder = folder
        self.log = log
        self.restarts = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.last_lines: deque[str] = deque(maxlen=12)
        self._say = say
        self._stopping = threading.Event()
        self._spawning = threading.Lock()
        self._supervisor: threading.Thread | None = None

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def is_started(self) -> bool:
        return self._supervisor is not None

    @property
    def status(self) -> int | None:
        """How the process ended; None while it runs."""
        return self.process.poll() if self.process else None

    def start(self) -> None:
        """Spawns the process here, so that a command that cannot run raises; later deaths are a thread's business."""
        self._stopping.clear()
        self._spawn()
        self._supervisor = threading.Thread(target=self._supervise, name=f"supervise {self.name}", daemon=True)
        self._supervisor.start()

    def is_ready(self) -> bool:
        """Whether those that come after may start."""
        if not self.is_started:
            return False
        if self.plan.once:
            return self.status == 0
        return self.status is None and self.plan.is_ready()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal to the process; if it dies of it, it is started again."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """Asks the process to end, and ends its whole group if it does not in time."""
        self._stopping.set()
        with self._spawning:
            process = self.process
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(self.plan.stop_signal)
        try:
            process.wait(self.plan.grace_seconds)
        except subprocess.TimeoutExpired:
            self._say(self.name, f"did not end within {self.plan.grace_seconds:.0f} s; killing it")
        end_group(process.pid)
        process.wait()
        if self._supervisor is not None:
            self._supervisor.join(5)
            self._supervisor = None

    def _spawn(self) -> None:
        with self._spawning:
            if self._stopping.is_set():
                return
            self.plan.prepare()
            self.process = subprocess.Popen(
                self.plan.command,
                cwd=self.plan.folder or self.folder,
                env=dict(self.plan.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self.plan.options,
            )
        threading.Thread(target=self._read, args=(self.process,), name=f"read {self.name}", daemon=True).start()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with self.log.open("a", encoding="utf-8") as log, process.stdout as lines:
            for raw in lines:
                line = raw.decode(errors="replace").rstrip()
                self.last_lines.append(line)
                log.write(line + "\n")
                log.flush()
                self._say(self.name, line)

    def _supervise(self) -> None:
        pause = 0.0
        while True:
            started = time.monotonic()
            process = self.process
            assert process is not None
            status = process.wait()
            end_group(process.pid)
            if self._stopping.is_set() or self.plan.once:
                return
            steady = time.monotonic() - started > STEADY_SECONDS
            pause = (
                0.0 if steady or not self.restarts else min(max(2 * pause, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
            )
            self.restarts += 1
            self._say(self.name, f"died ({how(status)}); starting it again")
            if self._stopping.wait(pause):
                return
            self._try_spawn()
            if self._stopping.is_set():
                return

    def _try_spawn(self) -> None:
        """Keeps trying: what cannot be started now (a file in the way, no memory) may be possible later."""
        while True:
            try:
                return self._spawn()
            except Exception as error:  # whatever it is, the supervisor must outlive it and say it
                self._say(self.name, f"could not be started: {error}")
            if self._stopping.wait(LONGEST_PAUSE_SECONDS):
                return None


def end_group(leader: int) -> None:
    """Kills what a process left behind, so that its successor finds ports and files free."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def how(status: int) -> str:
    """A process status in words."""
    return f"status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
