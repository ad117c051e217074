"""The app in this process: one for the tests of a file, or one for each test that changes what serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest

from tests.ai.support.app import RunningApp, running

if TYPE_CHECKING:
    from scripts.dev.postgres import Postgres


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """Serves tweets, housing and products, whose recipe is of the tests only. Its queue is unavailable."""
    with running(tmp_path_factory.mktemp("service")) as started:
        yield started


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[RunningApp]:
    """The same for one test alone."""
    with running(tmp_path) as started:
        yield started


@pytest.fixture
def queued(tmp_path: Path, databases: Postgres, queue_conninfo: str, secrets_dir: Path) -> Iterator[RunningApp]:
    """The same for one test alone, with a real queue that holds no jobs."""
    delete_jobs(queue_conninfo)
    with running(tmp_path, secrets_dir=secrets_dir, queue_port=databases.port) as started:
        yield started
    delete_jobs(queue_conninfo)


def delete_jobs(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute("truncate training_jobs, training_events, procrastinate_jobs cascade")


@pytest.fixture(scope="module")
def trainer(service: RunningApp) -> httpx.Client:
    """A client with a trainer's key."""
    return service.client(service.trainer)


@pytest.fixture(scope="module")
def user(service: RunningApp) -> httpx.Client:
    """A client with a user's key."""
    return service.client(service.user)
