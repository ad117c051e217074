"""The whole of Volant as processes, on ports of its own, for tests from end to end without Docker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from scripts.ports import free_port
from scripts.settings import PORTS
from scripts.stack import Stack

QUICK = {
    "AI_TRAIN_SHARE": "0.1",
    "AI_BOOTSTRAP_ROUNDS": "200",
    "AI_WATCH_SECONDS": "0.5",
    "AI_AUTH_REFRESH_SECONDS": "1",
}
"""Small trainings and short waits; everything else as it is."""


def make_stack(root: Path, overrides: Mapping[str, str] | None = None) -> Stack:
    """A stack that was not started yet. As root, other users must be able to enter `root` (see `open_folder`)."""
    return Stack(root, {**own_ports(), **QUICK, **(overrides or {})})


def own_ports() -> dict[str, str]:
    """A free port for everything that listens."""
    return {name: str(free_port()) for name in PORTS}
