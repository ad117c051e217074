"""`make dev` as a person meets it: one command, real services, and the line that it prints at the end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import psutil
import pytest

from tests.stack import QUICK, own_ports

pytestmark = pytest.mark.process

REPOSITORY = Path(__file__).resolve().parents[2]
DEV = (sys.executable, "-m", "scripts.dev")
SECOND_START_CPU_SECONDS = 30
"""A second start promises 15 s on two cores that nobody else wants. On a busy machine the clock says how busy it is, so
the work is measured: the CPU time of every process until all serve."""


class Dev:
    """A running `make dev` and what it has printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._coming: SimpleQueue[str] = SimpleQueue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Ends the command if it runs still, as a terminal that is closed would."""
        self.process.terminate()
        self.process.wait(60)
        self._reader.join()

    def until(self, pattern: str, seconds: float = 180) -> str:
        """The next line that matches, printed from now on."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._coming.get(timeout=max(deadline - time.monotonic(), 0))
            except Empty:
                raise AssertionError(
                    "\n".join([f"no line like {pattern}; the last ones:", *self.lines[-30:]])
                ) from None
            self.lines.append(line)
            if re.search(pattern, line):
                return line

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._coming.put(line.rstrip("\n"))


@pytest.fixture(scope="module")
def root(open_folder: Callable[[str], Path]) -> Path:
    return open_folder("dev")


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {**os.environ, **own_ports(), **QUICK}


@contextmanager
def running(root: Path, environment: dict[str, str]) -> Iterator[Dev]:
    process = subprocess.Popen(
        [*DEV, str(root)], cwd=REPOSITORY, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    dev = Dev(process)
    try:
        yield dev
    finally:
        dev.close()


def test_one_command_serves_and_a_second_start_finds_everything_within_30_cpu_seconds(
    root: Path, environment: dict[str, str]
) -> None:
    with running(root, environment) as dev:
        dev.until("A first prediction")
        answer = call(dev.until("curl"))
        assert answer["predictions"][0]["label"] in {"negative", "neutral", "positive"}

        beside = subprocess.run([*DEV, str(root)], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
        assert beside.returncode == 1
        assert beside.stdout.splitlines() == [
            f"Volant runs already in {root} (process {dev.process.pid}): stop that one with Ctrl-C first."
        ]

        children = psutil.Process(dev.process.pid).children(recursive=True)
        trainer = next(child for child in children if child.cmdline()[-2:] == ["ai_api", "work"])
        trainer.kill()
        dev.until(r"^\[trainer\] died \(killed by SIGKILL\); starting it again")

        children = psutil.Process(dev.process.pid).children(recursive=True)
        dev.process.send_signal(signal.SIGINT)
        dev.until(r"^\[dev\] every process has ended", 60)
        assert dev.process.wait(10) == 0
        assert not [child for child in children if child.is_running()]

    elsewhere = {"VOLANT_BIND": "127.0.0.2"} if sys.platform == "linux" else {}  # others have one loopback address
    with running(root, environment | elsewhere) as dev:
        ready = dev.until(r"^\[dev\] ready in")
        used = cpu_seconds(dev.process.pid)
        print(ready, f"with {used:.1f} CPU seconds")
        assert used <= SECOND_START_CPU_SECONDS
        line = dev.until("curl")
        assert f"http://{elsewhere.get('VOLANT_BIND', '127.0.0.1')}:{environment['AI_PORT']}/" in line
        again = call(line)
        assert again["version"] == answer["version"]


def cpu_seconds(supervisor: int) -> float:
    """What the services under a supervisor have used, those that have ended too."""
    parent = psutil.Process(supervisor)
    ended = parent.cpu_times()
    used = float(ended.children_user + ended.children_system)
    for process in parent.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            used += sum(process.cpu_times()[:4])  # its own and that of its children who ended
    return used


def call(line: str) -> dict[str, Any]:
    """Runs a line as it was printed."""
    done = subprocess.run(["sh", "-c", line], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
