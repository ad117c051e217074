"""One process that is kept running: its output is tagged and logged, and it is restarted when it exits."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from scripts.attached import signal_group
from scripts.private import UMASK

from .account import PopenOptions

PrintLine = Callable[[str, str], None]
"""Takes the name of a service and one line of its output."""

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 10.0
"""A service that ran this long is restarted at once; after a shorter run the pause doubles each time."""


@dataclass(frozen=True)
class ServiceSpec:
    """How a service is started, once the services in `after` are ready. With `once` it runs to its end one time."""

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
    """A service that runs. Each process leads its own session, so that Ctrl-C reaches the supervisor only."""

    def __init__(self, spec: ServiceSpec, folder: Path, log: Path, print_line: PrintLine) -> None:
        self.spec = spec
        self.folder = folder
        self.log = log
        self.restarts = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.last_lines: deque[str] = deque(maxlen=12)
        self._print = print_line
        self._stopping = threading.Event()
        self._spawning = threading.Lock()
        self._supervisor: threading.Thread | None = None

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def is_started(self) -> bool:
        return self._supervisor is not None

    @property
    def status(self) -> int | None:
        """How the process ended; None while it runs."""
        return self.process.poll() if self.process else None

    def start(self) -> None:
        """Starts the process in this thread, so that a command that cannot run raises; a thread restarts it later."""
        self._stopping.clear()
        self._spawn()
        self._supervisor = threading.Thread(target=self._supervise, name=f"supervise {self.name}", daemon=True)
        self._supervisor.start()

    def is_ready(self) -> bool:
        """Whether services that depend on this one may start."""
        if not self.is_started:
            return False
        if self.spec.once:
            return self.status == 0
        return self.status is None and self.spec.is_ready()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal to the process; if that ends it, it is restarted."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """Ends the process by its stop signal, and kills its whole group when that takes longer than its grace time."""
        self._stopping.set()
        with self._spawning:
            process = self.process
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(self.spec.stop_signal)
        try:
            process.wait(self.spec.grace_seconds)
        except subprocess.TimeoutExpired:
            self._print(self.name, f"did not end within {self.spec.grace_seconds:.0f} s; killing it")
        kill_group(process.pid)
        process.wait()
        if self._supervisor is not None:
            self._supervisor.join(5)
            self._supervisor = None

    def _spawn(self) -> None:
        with self._spawning:
            if self._stopping.is_set():
                return
            self.spec.prepare()
            self.process = subprocess.Popen(
                self.spec.command,
                cwd=self.spec.folder or self.folder,
                env=dict(self.spec.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=UMASK,
                **self.spec.options,
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
                self._print(self.name, line)

    def _supervise(self) -> None:
        pause = 0.0
        while True:
            started = time.monotonic()
            process = self.process
            assert process is not None
            status = process.wait()
            kill_group(process.pid)
            if self._stopping.is_set() or self.spec.once:
                return
            steady = time.monotonic() - started > STEADY_SECONDS
            pause = (
                0.0 if steady or not self.restarts else min(max(2 * pause, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
            )
            self.restarts += 1
            self._print(self.name, f"exited ({describe(status)}); restarting it")
            if self._stopping.wait(pause):
                return
            self._try_spawn()
            if self._stopping.is_set():
                return

    def _try_spawn(self) -> None:
        """Tries until it works: what cannot be started now (a missing file, no memory) may be possible later."""
        while True:
            try:
                return self._spawn()
            except Exception as error:  # the supervising thread must survive every error
                self._print(self.name, f"could not be started: {error}")
            if self._stopping.wait(LONGEST_PAUSE_SECONDS):
                return None


def kill_group(leader: int) -> None:
    """Kills the processes that a process left behind, so that its ports and files are free for the next one."""
    signal_group(leader, signal.SIGKILL)


def describe(status: int) -> str:
    """An exit status in words, for logs."""
    return f"status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
