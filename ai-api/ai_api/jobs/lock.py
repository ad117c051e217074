"""The promotion lock of a task, an advisory lock in the queue database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from ai_api.errors import QueueUnavailable

LOCK_SECONDS = 30


@contextmanager
def promotion_lock(conninfo: str, task: str) -> Iterator[None]:
    """At most one holder among all processes. It blocks; QueueUnavailable after LOCK_SECONDS or without Postgres."""
    try:
        with psycopg.connect(conninfo) as connection:
            connection.execute(f"set local lock_timeout = '{LOCK_SECONDS}s'")
            connection.execute("select pg_advisory_xact_lock(hashtext('volant promote'), hashtext(%s))", (task,))
            yield
    except psycopg.errors.LockNotAvailable as error:
        raise QueueUnavailable("Another promotion of this task has not ended. Try again in a moment.") from error
    except psycopg.OperationalError as error:
        raise QueueUnavailable from error
