"""Settings with which tests start the whole of Volant as processes: ports of its own, and quick."""

from __future__ import annotations

from scripts.dev.ports import free_port
from scripts.settings import PORTS

QUICK = {
    "AI_TRAIN_SHARE": "0.1",
    "AI_BOOTSTRAP_ROUNDS": "200",
    "AI_WATCH_SECONDS": "0.5",
    "AI_AUTH_REFRESH_SECONDS": "1",
    "AI_TASKS": "tweets,housing",
}
"""Small trainings and short waits; everything else as it is."""


def own_ports() -> dict[str, str]:
    """A free port for everything that listens."""
    return {name: str(free_port()) for name in PORTS}
