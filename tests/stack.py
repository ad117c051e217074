"""Settings of a Volant that tests start as processes: free ports, small trainings."""

from __future__ import annotations

from pathlib import Path

from scripts.dev.ports import free_port
from scripts.settings import PORTS

SMALL_TASKS = "tweets,housing"
"""A text task and a numeric one, both quick to train: all that most tests of a whole Volant need."""

QUICK = {
    "AI_TRAIN_SHARE": "0.1",
    "AI_BOOTSTRAP_ROUNDS": "200",
    "AI_WATCH_SECONDS": "0.5",
    "AI_AUTH_REFRESH_SECONDS": "1",
    "AI_TASKS": SMALL_TASKS,
}
"""Small trainings and short polling intervals; every other setting has its default."""


def own_ports() -> dict[str, str]:
    """A free port for every setting that names one."""
    return {name: str(free_port()) for name in PORTS}


def reachable(folder: Path) -> list[Path]:
    """The files below that another user can read or write."""
    found: list[Path] = []
    for path in folder.iterdir():
        if path.is_dir() and path.stat().st_mode & 0o011:
            found += reachable(path)
        elif path.is_file() and path.stat().st_mode & 0o066:
            found.append(path)
    return found
