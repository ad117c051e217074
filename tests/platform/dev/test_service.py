"""The supervisor of one service."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from scripts.dev.service import Service, ServiceSpec
from tests.waiting import until

pytestmark = pytest.mark.process

STEADY = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
WITH_CHILD = (
    "import subprocess, sys, time;"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "print(child.pid, flush=True); time.sleep(600)"
)


class Lines(list[str]):
    def print_line(self, name: str, line: str) -> None:
        self.append(f"{name}: {line}")


@contextmanager
def running(tmp_path: Path, code: str, lines: Lines, grace_seconds: float = 5) -> Iterator[Service]:
    spec = ServiceSpec("it", (sys.executable, "-c", code), environment=os.environ, grace_seconds=grace_seconds)
    service = Service(spec, tmp_path, tmp_path / "it.log", lines.print_line)
    service.start()
    try:
        yield service
    finally:
        service.stop()


def test_a_service_that_is_killed_is_restarted_and_the_restart_is_printed(tmp_path: Path) -> None:
    lines = Lines()
    with running(tmp_path, STEADY, lines) as service:
        until(lambda: "it: up" in lines, "the service")
        service.kill()
        until(lambda: lines.count("it: up") == 2, "the service")
        assert "it: exited (killed by SIGKILL); restarting it" in lines
        assert service.restarts == 1


def test_a_service_that_keeps_exiting_is_restarted_after_growing_pauses(tmp_path: Path) -> None:
    lines = Lines()
    with running(tmp_path, "raise SystemExit(3)", lines) as service:
        until(lambda: service.restarts >= 3, "the service")
        assert lines[0] == "it: exited (status 3); restarting it"
        time_of_three = service.restarts
    assert service.restarts == time_of_three, "a stopped service is not restarted"


def test_the_output_of_a_service_is_tagged_and_logged(tmp_path: Path) -> None:
    lines = Lines()
    with running(tmp_path, STEADY, lines):
        until(lambda: lines == ["it: up"], "the service")
    assert (tmp_path / "it.log").read_text() == "up\n"


def test_a_service_that_does_not_end_in_time_is_killed(tmp_path: Path) -> None:
    lines = Lines()
    with running(tmp_path, STUBBORN, lines, grace_seconds=0.2) as service:
        until(lambda: "it: up" in lines, "the service")
        service.stop()
        assert service.status == -signal.SIGKILL


def test_child_processes_of_an_ended_service_are_killed_before_it_is_restarted(tmp_path: Path) -> None:
    lines = Lines()
    with running(tmp_path, WITH_CHILD, lines) as service:
        until(lambda: len(lines) == 1, "the service")
        orphan = psutil.Process(int(lines[0].removeprefix("it: ")))
        service.kill()
        until(lambda: service.restarts == 1, "the service")
        until(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE, "the service")
