"""The settings of `make dev`: the defaults of `.env`, then the environment, then what a start sets itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from .mlflow_server import reachable_host

REPOSITORY = Path(__file__).resolve().parents[1]

PORTS = {
    "POSTGRES_PORT": "Postgres",
    "MLFLOW_PORT": "MLflow",
    "DATA_PORT": "data-api",
    "DATA_METRICS_PORT": "the metrics of data-api",
    "DATA_MAINTAIN_METRICS_PORT": "the metrics of data-maintain",
    "AI_PORT": "ai-api",
    "AI_METRICS_PORT": "the metrics of ai-api",
    "AI_WORK_METRICS_PORT": "the metrics of the trainer",
}
"""Every port that `make dev` listens on: its setting, and what uses it."""

PUBLISHED = {"MLFLOW_PORT", "DATA_PORT", "AI_PORT"}
"""Ports that listen on VOLANT_BIND; the others listen on the loopback only."""

FOLDERS = ("AI_SECRETS_DIR", "AI_STATE_DIR", "AI_VERSION_KEYS_DIR", "AI_RAW_DIR", "VOLANT_BACKUPS_DIR")


def read(root: Path, overrides: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of the services of a stack that keeps its state under `root`."""
    settings = {**defaults(), **os.environ, **(overrides or {})}
    for name in FOLDERS:
        settings[name] = str(root / settings[name])
    for name in ("AI_DATA_MIRROR", "AI_WEIGHTS_DIR", "AI_TASKS_DIR"):
        if settings.get(name):
            settings[name] = str(REPOSITORY / settings[name])
    host, known = reachable_host(settings["VOLANT_BIND"]), names(settings)
    return settings | {
        "AI_ALLOWED_HOSTS": f"{known},{settings['AI_ALLOWED_HOSTS']}",
        "DATA_ALLOWED_HOSTS": f"{known},{settings['DATA_ALLOWED_HOSTS']}",
        "AI_HOST": settings["VOLANT_BIND"],
        "DATA_HOST": settings["VOLANT_BIND"],
        "AI_DATA_API_URL": f"http://{host}:{settings['DATA_PORT']}",
        "AI_MLFLOW_URL": f"http://{host}:{settings['MLFLOW_PORT']}",
        "AI_QUEUE_HOST": "127.0.0.1",
        "AI_QUEUE_PORT": settings["POSTGRES_PORT"],
        "DATA_SECRETS_DIR": settings["AI_SECRETS_DIR"],
        "DATA_TOMBSTONES_FILE": f"{settings['VOLANT_BACKUPS_DIR']}/tombstones/erased.jsonl",
        "DATA_POSTGRES_HOST": "127.0.0.1",
        "DATA_POSTGRES_PORT": settings["POSTGRES_PORT"],
        "DO_NOT_TRACK": "1",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "PYTHONUNBUFFERED": "1",
    }


def defaults() -> dict[str, str]:
    """The settings in `.env`."""
    command = ["sh", str(REPOSITORY / "scripts/setting.sh"), "--defaults"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def names(settings: Mapping[str, str]) -> str:
    """The host names and addresses that callers may use for this machine, comma-separated."""
    script = REPOSITORY / "scripts/names.sh"
    done = subprocess.run(["sh", str(script)], env=settings, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()
