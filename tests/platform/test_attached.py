"""A program that a command of scripts/ has started ends with that command, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from scripts.dev.ports import free_port
from tests.waiting import until

pytestmark = pytest.mark.process

REPOSITORY = Path(__file__).resolve().parents[2]
CALLER = """
import os, signal, sys
from pathlib import Path
from scripts.attached import attached, exit_by_signal
signal.signal(signal.SIGTERM, exit_by_signal)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs in the background
attached([sys.executable, "-c", sys.argv[1]], Path.cwd(), os.environ).wait()
"""
PROGRAM = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]]).wait()"
SLEEPS = "import time; print('up', flush=True); time.sleep(600)"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_a_program_and_its_children_end_with_the_caller(number: int) -> None:
    program = f"import sys; sys.argv = ['', {SLEEPS!r}]; {PROGRAM}"
    command = [sys.executable, "-c", CALLER, program]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == b"up\n"
        started = psutil.Process(caller.pid).children(recursive=True)
        assert len(started) == 3
        caller.send_signal(number)
        _, running = psutil.wait_procs(started, timeout=30)
        assert running == []


def test_the_status_of_the_program_is_kept_and_what_it_leaves_behind_ends() -> None:
    leaves = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEPS!r}]).pid); sys.exit(3)"
    command = [sys.executable, "-m", "scripts.attached", sys.executable, "-c", leaves]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        left = int(process.stdout.readline())
        assert process.wait(30) == 3
    until(lambda: not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE, "its end", 30)


RESTORE = """
import sys, time
from scripts.backup import __main__ as command
from scripts.backup.stores import ProcessStores
def setup(*_):
    print("up", flush=True)
    time.sleep(600)
ProcessStores._data_api = setup
sys.exit(command.main(["restore", "--set", sys.argv[1], "--root", sys.argv[2]]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_restore_that_is_ended_leaves_no_postgres_behind(number: int, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    backup = tmp_path / "backup"
    backup.mkdir()
    (backup / "manifest.json").write_text('{"way": "dev", "files": {}, "secrets": {}}')
    command = [sys.executable, "-c", RESTORE, str(backup), str(tmp_path)]
    environment = {**os.environ, "POSTGRES_PORT": str(free_port())}
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE) as restore:
        assert restore.stdout is not None
        assert restore.stdout.readline() == b"up\n"
        started = psutil.Process(restore.pid).children(recursive=True)
        assert any(process.name() == "postgres" for process in started)
        restore.send_signal(number)
        assert restore.wait(60) == 128 + number
        _, running = psutil.wait_procs(started, timeout=30)
        assert running == []
