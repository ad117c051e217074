"""The queue database, emptied for each test."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest


@pytest.fixture
def conninfo(queue_conninfo: str) -> Iterator[str]:
    """The queue database, with no jobs in it."""
    empty(queue_conninfo)
    yield queue_conninfo
    empty(queue_conninfo)


def empty(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute("truncate training_jobs, training_events, procrastinate_jobs cascade")
