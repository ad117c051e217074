"""A service that is kept running."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from scripts.dev.service import Plan, Service
from tests.traffic import until

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
    def say(self, name: str, line: str) -> None:
        self.append(f"{name}: {line}")


@contextmanager
def running(tmp_path: Path, code: str, lines: Lines, grace_seconds: float = 5) -> Iterator[Service]:
    plan = Plan("it", (sys.executable, "-c", code), environment=os.environ, grace_seconds=grace_seconds)
    service = Service(plan, tmp_path, tmp_path / "it.log", lines.say)
    service.start()
    try:
        yield service
    finally:
        service.stop()


def test_a_service_that_is_killed_is_started_again_and_that_is_said(tmp_path: Path) -> None:
    lines = Lines()
    with running(tmp_path, STEADY, lines) as service:
        until(lambda: "it: up" in lines, "the service")
        service.kill()
        until(lambda: lines.count("it: up") == 2, "the service")
        assert "it: died (killed by SIGKILL); starting it again" in lines
        assert service.restarts == 1


def test_a_service_that_ends_by_itself_is_started_again_after_longer_and_longer_pauses(tmp_path: Path) -> None:
    lines = Lines()
    with running(tmp_path, "raise SystemExit(3)", lines) as service:
        until(lambda: service.restarts >= 3, "the service")
        assert lines[0] == "it: died (status 3); starting it again"
        time_of_three = service.restarts
    assert service.restarts == time_of_three, "a stopped service stays down"


def test_its_words_are_tagged_and_kept_in_a_file(tmp_path: Path) -> None:
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


def test_what_a_dead_service_left_behind_ends_before_its_successor_starts(tmp_path: Path) -> None:
    lines = Lines()
    with running(tmp_path, WITH_CHILD, lines) as service:
        until(lambda: len(lines) == 1, "the service")
        orphan = psutil.Process(int(lines[0].removeprefix("it: ")))
        service.kill()
        until(lambda: service.restarts == 1, "the service")
        until(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE, "the service")
