"""`make results`: trains on the real data, two recipes at a time, and writes docs/RESULTS.md from the runs.

Fine-tuned transformers come last, one at a time, each with all cores.

It needs neither Postgres nor data-api: an MLflow of its own keeps the runs in data/state/results. What is there already
(same rows, same code) is not trained again.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from ai_api.results.runs import FINE_TUNED
from ai_api.settings import Settings
from ai_api.task import Modality, Task
from ai_api.tasks import find_tasks

from . import mlflow_server, settings
from .attached import attached, exit_by_signal
from .dev.ports import free_port
from .dev.stack import python
from .private import UMASK, NotPrivate, keep_private

Command = tuple[str, ...]
"""Words of one command of ai-api."""


class Commands:
    """Runs commands of ai-api, several at a time; `stop` ends those under way and starts no other."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._is_stopped = False

    def run(self, *words: str) -> bool:
        """Whether the command failed; prints how long it took."""
        begun = time.monotonic()
        print(f"\n== {' '.join(words)}", flush=True)
        with self._lock:
            if self._is_stopped:
                return True
            process = attached(python("ai_api", *words), settings.REPOSITORY, self._environment)
            self._running.add(process)
        try:
            status = process.wait()
        finally:
            self._running.discard(process)
        print(f"== {' '.join(words)}: {time.monotonic() - begun:.0f} s", flush=True)
        return status != 0

    def run_all(self, commands: Sequence[Command], at_once: int) -> int:
        """How many of the commands failed."""
        with ThreadPoolExecutor(at_once) as threads:
            try:
                return sum(threads.map(lambda words: self.run(*words), commands))
            except BaseException:  # leaving the block waits for what the threads run
                self.stop()
                raise

    def stop(self) -> None:
        with self._lock:
            self._is_stopped = True
            for process in self._running:
                process.terminate()


def main() -> int:
    arguments = parse()
    folder: Path = arguments.keep.absolute()
    try:
        keep_private(folder)
    except NotPrivate as error:
        sys.exit(str(error))
    environment = prepared(folder)
    ai, begun = Settings(), time.monotonic()
    found = find_tasks(ai.task_names, ai.tasks_dir)
    chosen = [found[name] for name in arguments.tasks] or list(found.values())
    quick, slow = trainings(sorted(chosen, key=is_quick), every=arguments.all_recipes, again=arguments.again)
    commands = Commands(environment)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, exit_by_signal)
    with mlflow(folder, environment):
        failed = commands.run_all(quick, arguments.at_once)
        print(f"all but fine-tuned transformers: {(time.monotonic() - begun) / 60:.1f} min", flush=True)
        failed += commands.run_all(slow, at_once=1)
        print(f"all: {(time.monotonic() - begun) / 60:.1f} min", flush=True)
        failed += commands.run_all([("compare", "--out", str(arguments.out))], at_once=1)
    return 1 if failed else 0


def parse() -> argparse.Namespace:
    default_folder = settings.REPOSITORY / "data" / "state" / "results"
    page = settings.REPOSITORY / "docs" / "RESULTS.md"
    two = min(2, os.cpu_count() or 1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="names of tasks (default: all)")
    parser.add_argument("--all-recipes", action="store_true", help="every recipe, and not only the default ones")
    parser.add_argument("--at-once", type=int, default=two, help="recipes that train at the same time (%(default)s)")
    parser.add_argument("--again", action="store_true", help="train what was trained before, too")
    parser.add_argument("--out", type=Path, default=page, help="the page to write")
    parser.add_argument("--keep", type=Path, default=default_folder, help="folder for the runs")
    return parser.parse_args()


def is_quick(task: Task) -> bool:
    """Whether a task trains in a few minutes. Texts and images take longer, so their tasks begin first."""
    return not task.row.columns(Modality.TEXT, Modality.IMAGE)


def is_folded(task: Task) -> bool:
    """Whether the published figures of a task are means over folds."""
    return any("folds" in figure.rows for figure in task.published)


def trainings(tasks: Sequence[Task], *, every: bool, again: bool) -> tuple[list[Command], list[Command]]:
    """The trainings that run at the same time, and those of fine-tuned transformers."""
    known = () if again else ("--missing",)
    quick: list[Command] = []
    slow: list[Command] = []
    for task in tasks:
        for recipe in (recipe for recipe in task.recipes if every or recipe.is_default):
            place = slow if recipe.estimator == FINE_TUNED else quick
            place.append(("train", task.name, "--recipes", recipe.name, "--alone", *known))
        if is_folded(task):
            quick.append(("crossval", task.name, "--all-recipes" if every else "--all", *known))
    return quick, slow


def prepared(folder: Path) -> dict[str, str]:
    """The environment of the trainings, with secrets of their own, as MLflow asks for a password."""
    port = str(free_port())
    subprocess.run(["sh", str(settings.REPOSITORY / "scripts/secrets.sh"), str(folder / "secrets")], check=True)
    found = settings.read(settings.REPOSITORY, {"MLFLOW_PORT": port, "VOLANT_BIND": "127.0.0.1"})
    return found | {"AI_SECRETS_DIR": str(folder / "secrets"), "AI_STATE_DIR": str(folder), "AI_TRAIN_SHARE": "1.0"}


@contextmanager
def mlflow(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """An MLflow for this command alone."""
    command = python(
        "scripts.mlflow_server", "--port", environment["MLFLOW_PORT"], "--secrets", environment["AI_SECRETS_DIR"],
        "--sqlite", str(folder), "--artifacts", str(folder / "mlruns"),
    )  # fmt: skip
    with (folder / "mlflow.log").open("w") as log:
        server = attached(command, settings.REPOSITORY, environment, log)
        try:
            password = (folder / "secrets" / "mlflow_password").read_text().strip()
            while not mlflow_server.is_ready(environment["AI_MLFLOW_URL"], password):
                if server.poll() is not None:
                    sys.exit(f"MLflow did not start; its messages are in {log.name}.")
                time.sleep(0.1)
            yield
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    os.umask(UMASK)
    os.chdir(settings.REPOSITORY)
    sys.exit(main())
