"""`make dev` as a user types it: real services, and the call that it prints at the end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import psutil
import pytest

from tests.platform.checkout import Checkout
from tests.stack import QUICK, own_ports

pytestmark = [pytest.mark.process, pytest.mark.slow]

DEV = (sys.executable, "-m", "scripts.dev")


class Dev:
    """A running `make dev` and what it has printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._coming: SimpleQueue[str] = SimpleQueue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Ends the command, if it still runs, as closing its terminal does."""
        self.process.terminate()
        self.process.wait(60)
        self._reader.join()

    def until(self, pattern: str, seconds: float = 600) -> str:
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
    """A copy of this repository's Makefile and scripts, in which `make dev` keeps its state."""
    return Checkout(open_folder("dev")).folder


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {**os.environ, **own_ports(), **QUICK}


@contextmanager
def running(command: Sequence[str], root: Path, environment: dict[str, str]) -> Iterator[Dev]:
    process = subprocess.Popen(
        command, cwd=root, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    dev = Dev(process)
    try:
        yield dev
    finally:
        dev.close()


def test_make_dev_serves_and_a_second_start_serves_the_same_version(root: Path, environment: dict[str, str]) -> None:
    with running(DEV, root, environment) as dev:
        dev.until("A first prediction")
        response = call(dev.until("curl"), root)
        assert response["predictions"][0]["label"] in {"negative", "neutral", "positive"}

        beside = subprocess.run(DEV, cwd=root, env=environment, capture_output=True, text=True)
        assert beside.returncode == 1
        assert beside.stdout.splitlines() == [
            f"Volant runs already in {root} (process {dev.process.pid}): stop that one with Ctrl-C first."
        ]

        children = psutil.Process(dev.process.pid).children(recursive=True)
        trainer = next(child for child in children if child.cmdline()[-2:] == ["ai_api", "work"])
        trainer.kill()
        dev.until(r"^\[trainer\] exited \(killed by SIGKILL\); restarting it")

        children = psutil.Process(dev.process.pid).children(recursive=True)
        dev.process.send_signal(signal.SIGINT)
        dev.until(r"^\[dev\] every process has ended", 300)
        assert dev.process.wait(10) == 0
        assert not [child for child in children if child.is_running()]

    elsewhere = {"VOLANT_BIND": "127.0.0.2"} if sys.platform == "linux" else {}  # others have one loopback address
    with running(("make", "--old-file=venv", "dev"), root, environment | elsewhere) as dev:
        dev.until(r"^\[dev\] ready in")
        line = dev.until("curl")
        assert f"http://{elsewhere.get('VOLANT_BIND', '127.0.0.1')}:{environment['AI_PORT']}/" in line
        again = call(line, root)
        assert again["version"] == response["version"]


def call(line: str, root: Path) -> dict[str, Any]:
    """Types a line as it was printed; the body of the response."""
    done = subprocess.run(["sh", "-c", line], cwd=root, capture_output=True, text=True, check=True)
    body: dict[str, Any] = json.loads(done.stdout)
    return body
