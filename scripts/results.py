"""`make results`: trains on the real data, two tasks at a time, and writes docs/RESULTS.md from the runs.

It needs neither Postgres nor data-api: an MLflow of its own keeps the runs in data/state/results. What is there already
(same rows, same code) is not trained again.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from ai_api.settings import Settings
from ai_api.tasks import find_tasks

from . import mlflow_server, settings
from .ports import free_port
from .stack import python

FOLDED = ("housing", "fraud", "churn")
"""Tasks whose published figures are of folds."""
LONG = ("tweets", "fashion")
"""Tasks that begin first, as they take longest."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="names of tasks (default: all)")
    parser.add_argument("--all-recipes", action="store_true", help="every recipe, and not only the default ones")
    parser.add_argument(
        "--at-once",
        type=int,
        default=min(2, os.cpu_count() or 1),
        help="tasks that train at the same time (%(default)s)",
    )
    parser.add_argument("--again", action="store_true", help="train what was trained before, too")
    parser.add_argument(
        "--out", type=Path, default=settings.REPOSITORY / "docs" / "RESULTS.md", help="the page to write"
    )
    parser.add_argument(
        "--keep", type=Path, default=settings.REPOSITORY / "data" / "state" / "results", help="folder for the runs"
    )
    parsed = parser.parse_args()
    folder: Path = parsed.keep.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    environment = prepared(folder)
    ai, begun = Settings(), time.monotonic()
    which = "--all-recipes" if parsed.all_recipes else "--all"
    known = [] if parsed.again else ["--missing"]

    def made(task: str) -> int:
        failed = run("train", task, which, "--alone", *known, environment=environment)
        return failed + (task in FOLDED and run("crossval", task, which, *known, environment=environment))

    tasks = sorted(parsed.tasks or find_tasks(ai.task_names, ai.tasks_dir), key=lambda task: task not in LONG)
    with mlflow(folder, environment):
        with ThreadPoolExecutor(parsed.at_once) as lanes:
            failed = sum(lanes.map(made, tasks))
        print(f"trained in {(time.monotonic() - begun) / 60:.0f} min", flush=True)
        failed += run("compare", "--out", str(parsed.out), environment=environment)
    return 1 if failed else 0


def prepared(folder: Path) -> dict[str, str]:
    """The environment of the trainings; secrets of its own are made, since MLflow asks who writes."""
    port = str(free_port())
    subprocess.run(["sh", str(settings.REPOSITORY / "scripts/secrets.sh"), str(folder / "secrets")], check=True)
    found = settings.read(settings.REPOSITORY, {"MLFLOW_PORT": port, "VOLANT_BIND": "127.0.0.1"})
    return found | {"AI_SECRETS_DIR": str(folder / "secrets"), "AI_STATE_DIR": str(folder), "AI_TRAIN_SHARE": "1.0"}


@contextmanager
def mlflow(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """An MLflow for this command alone."""
    log = (folder / "mlflow.log").open("w")
    server = subprocess.Popen(
        python(
            "scripts.mlflow_server", "--port", environment["MLFLOW_PORT"], "--secrets", environment["AI_SECRETS_DIR"],
            "--sqlite", str(folder), "--artifacts", str(folder / "mlruns"),
        ),
        env=dict(environment),
        cwd=settings.REPOSITORY,
        stdout=log,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        password = (folder / "secrets" / "mlflow_password").read_text().strip()
        while not mlflow_server.is_ready(environment["AI_MLFLOW_URL"], password):
            if server.poll() is not None:
                sys.exit(f"MLflow did not start; {log.name} says why.")
            time.sleep(0.1)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
        log.close()


def run(*words: str, environment: Mapping[str, str]) -> bool:
    """Whether a command of ai-api failed; says how long it took."""
    begun = time.monotonic()
    print(f"\n== {' '.join(words)}", flush=True)
    status = subprocess.run(
        python("ai_api", *words), env=dict(environment), cwd=settings.REPOSITORY, check=False
    ).returncode
    print(f"== {' '.join(words)}: {time.monotonic() - begun:.0f} s", flush=True)
    return status != 0


if __name__ == "__main__":
    os.chdir(settings.REPOSITORY)
    sys.exit(main())
