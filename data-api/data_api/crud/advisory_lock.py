"""Advisory locks of Postgres. Each is named by an integer key and ends with the transaction that took it."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session


def lock(session: Session, key: int) -> None:
    """Takes the lock exclusively; waits while another transaction holds it."""
    session.execute(select(func.pg_advisory_xact_lock(key)))


def lock_shared(session: Session, key: int) -> None:
    """Takes the lock shared; waits while another transaction holds it exclusively."""
    session.execute(select(func.pg_advisory_xact_lock_shared(key)))


def try_lock(session: Session, key: int) -> bool:
    """Takes the lock exclusively if it is free; whether it did. Never waits."""
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(key))))
