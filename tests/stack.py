"""Settings of a Volant that tests start as processes: free ports, small trainings."""

from __future__ import annotations

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
