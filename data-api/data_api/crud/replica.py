"""Which ai-api processes there are: those that ask for the snapshot of callers."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from data_api.models import Replica

AWAY = timedelta(hours=1)
"""A replica that was silent for this long is not waited for. When it is back it is told of every erasure since."""


def seen(session: Session, name: str) -> None:
    """Remembers that this one asked just now."""
    new = insert(Replica).values(name=name, seen_at=func.now())
    session.execute(new.on_conflict_do_update(index_elements=["name"], set_={"seen_at": func.now()}))


def present(session: Session) -> set[str]:
    """Those that are not away."""
    return set(session.scalars(select(Replica.name).where(Replica.seen_at > func.now() - AWAY)))


def forget(session: Session, name: str) -> None:
    """Waits for this one no more. One that nobody knows is no error."""
    session.execute(delete(Replica).where(Replica.name == name))


def prune(session: Session) -> None:
    """Forgets those that are away."""
    session.execute(delete(Replica).where(Replica.seen_at <= func.now() - AWAY))
