"""`make results`: trains on the real data, two recipes at a time, and writes docs/RESULTS.md from the runs.

Fine-tuned transformers come last, each with all cores.

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
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from ai_api.results.runs import FINE_TUNED
from ai_api.settings import Settings
from ai_api.task import Task
from ai_api.tasks import find_tasks

from . import mlflow_server, settings
from .dev.ports import free_port
from .dev.stack import python

FOLDED = ("housing", "fraud", "churn")
"""Tasks whose published figures are of folds."""
LONG = ("fashion", "tweets")
"""Tasks that begin first, as they take longest."""
Order = tuple[str, ...]
"""Words of one command of ai-api."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="names of tasks (default: all)")
    parser.add_argument("--all-recipes", action="store_true", help="every recipe, and not only the default ones")
    parser.add_argument(
        "--at-once",
        type=int,
        default=min(2, os.cpu_count() or 1),
        help="recipes that train at the same time (%(default)s)",
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
    found = find_tasks(ai.task_names, ai.tasks_dir)
    chosen = [found[name] for name in sorted(parsed.tasks or found, key=lambda name: name not in LONG)]
    quick, slow = orders(chosen, every=parsed.all_recipes, again=parsed.again)
    with mlflow(folder, environment):
        with ThreadPoolExecutor(parsed.at_once) as lanes:
            failed = sum(lanes.map(lambda words: run(*words, environment=environment), quick))
        print(f"all but fine-tuned transformers: {(time.monotonic() - begun) / 60:.1f} min", flush=True)
        failed += sum(run(*words, environment=environment) for words in slow)
        print(f"all: {(time.monotonic() - begun) / 60:.1f} min", flush=True)
        failed += run("compare", "--out", str(parsed.out), environment=environment)
    return 1 if failed else 0


def orders(tasks: Sequence[Task], *, every: bool, again: bool) -> tuple[list[Order], list[Order]]:
    """The trainings that go side by side, and those of fine-tuned transformers."""
    known = () if again else ("--missing",)
    quick: list[Order] = []
    slow: list[Order] = []
    for task in tasks:
        for recipe in (recipe for recipe in task.recipes if every or recipe.is_default):
            place = slow if recipe.estimator == FINE_TUNED else quick
            place.append(("train", task.name, "--recipes", recipe.name, "--alone", *known))
        if task.name in FOLDED:
            quick.append(("crossval", task.name, "--all-recipes" if every else "--all", *known))
    return quick, slow


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
