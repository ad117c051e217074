"""A whole Volant of processes in a temporary folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.dev.ports import free_port
from scripts.settings import PORTS
from tests.loop.people import clients
from tests.loop.volant import Volant
from tests.shared import ends

QUICK = {
    "AI_AUTH_REFRESH_SECONDS": "1",
    "AI_WATCH_SECONDS": "1",
    "AI_HEARTBEAT_SECONDS": "1",
    "AI_STALLED_SECONDS": "4",
    "AI_BOOTSTRAP_ROUNDS": "400",
    "AI_TASKS": "tweets,housing",
}
START_SECONDS = 900
"""A bound for a busy machine; a start takes about a minute on two idle cores."""


@pytest.fixture(scope="session", autouse=True)
def closed_clients() -> Iterator[None]:
    yield
    for client in clients:
        client.close()


def started(folder: Path, **settings: str) -> Iterator[Volant]:
    ports = {name: str(free_port()) for name in PORTS}
    volant = Volant(folder, {**ports, **QUICK, **settings})
    try:
        volant.start(START_SECONDS)
        volant.wait_serving(START_SECONDS)
        yield volant
    finally:
        volant.stop()


@pytest.fixture
def fresh_third(open_folder: Callable[[str], Path]) -> Iterator[Volant]:
    """Starters trained on a third of the rows, for one test of a campaign."""
    yield from started(open_folder("third"), AI_TRAIN_SHARE="0.33")


@pytest.fixture(scope="session")
def small(open_folder: Callable[[str], Path]) -> Iterator[Volant]:
    """Starters trained on a twentieth of the rows, so that trainings are quick; those of products on generated rows.

    `wine` is a task from outside: one file in a tasks folder.
    """
    tasks = open_folder("tasks")
    shutil.copy(Path(__file__).with_name("wine.py"), tasks)
    settings = {"AI_TRAIN_SHARE": "0.05", "AI_TASKS": "tweets,housing,products,wine", "AI_TASKS_DIR": str(tasks)}
    for volant in started(open_folder("small"), **settings):
        ends.append(volant.stop)
        yield volant
