"""`make results` as typed, and ended before its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ai_api.tasks import find_tasks
from scripts.results import is_folded, is_quick, trainings
from tests.platform.checkout import Checkout
from tests.waiting import until

REPOSITORY = Path(__file__).resolve().parents[2]


def test_tabular_tasks_are_cross_validated_and_tasks_with_texts_or_images_begin_first() -> None:
    tasks = sorted(find_tasks().values(), key=is_quick)
    assert {task.name for task in tasks if is_folded(task)} == {"housing", "fraud", "churn"}
    assert [task.name for task in tasks if is_quick(task)] == [task.name for task in tasks[-3:]]
    quick, slow = trainings(tasks, every=False, again=False)
    assert all(command[-1] == "--missing" for command in quick + slow)
    assert {command[0] for command in slow} == {"train"}
    assert [command[1] for command in quick if command[0] == "crossval"] == [task.name for task in tasks[-3:]]
    again, _ = trainings(tasks, every=True, again=True)
    assert len(again) > len(quick)
    assert not [command for command in again if "--missing" in command]


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_no_process_behind(number: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.results", "--keep", str(tmp_path), "--out", str(tmp_path / "page.md")]
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen([*command, "tweets"], cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT)
    until(lambda: "== train tweets" in (tmp_path / "output").read_text(), "a first training", 120)
    until(lambda: len(psutil.Process(process.pid).children(recursive=True)) >= 7, "MLflow and two trainings")
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    assert process.wait(60) == (-number if number == signal.SIGKILL else 128 + number)
    _, running = psutil.wait_procs(started, timeout=30)
    assert running == []


@pytest.mark.slow
def test_make_results_trains_the_tasks_that_are_named_and_writes_the_page(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    (tmp_path / "docs").mkdir()
    done = checkout.make("results", "TASKS=churn", environment={"AI_DATA_MIRROR": os.environ.get("AI_DATA_MIRROR", "")})
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    assert "== train churn" in done.stdout
    assert "churn" in (tmp_path / "docs" / "RESULTS.md").read_text()
