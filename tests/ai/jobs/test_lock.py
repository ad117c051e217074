"""The promotion lock of a task, on a real Postgres."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from ai_api.errors import QueueUnavailable
from ai_api.jobs.lock import promotion_lock

SECONDS = 30


@pytest.mark.anyio
async def test_promotions_of_a_task_happen_one_after_the_other(queue_conninfo: str) -> None:
    order: list[str] = []
    held = threading.Event()

    def first() -> None:
        with promotion_lock(queue_conninfo, "tweets"):
            held.set()
            with promotion_lock(queue_conninfo, "housing"):
                order.append("another task's")
            time.sleep(0.2)
            order.append("first")

    def second() -> None:
        assert held.wait(SECONDS)
        with promotion_lock(queue_conninfo, "tweets"):
            order.append("second")

    await asyncio.gather(asyncio.to_thread(first), asyncio.to_thread(second))
    assert order == ["another task's", "first", "second"]


def test_a_promotion_that_waits_too_long_for_the_lock_is_refused(
    queue_conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ai_api.jobs.lock.LOCK_SECONDS", 0.1)
    with (
        promotion_lock(queue_conninfo, "tweets"),
        pytest.raises(QueueUnavailable, match="has not ended"),
        promotion_lock(queue_conninfo, "tweets"),
    ):
        pass


def test_without_postgres_the_lock_is_unavailable(free_port: Callable[[], int]) -> None:
    conninfo = f"host=127.0.0.1 port={free_port()} dbname=queue user=nobody connect_timeout=2"
    with pytest.raises(QueueUnavailable), promotion_lock(conninfo, "tweets"):
        pass
