"""The ai-api instances that run: those that ask for the snapshot of callers."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from data_api.models.privacy.instance import Instance

AWAY = timedelta(hours=1)
"""After this long without a request an instance is not waited for. Its next snapshot names every erasure since."""


def record_seen(session: Session, name: str) -> None:
    """Notes that this instance asked for the snapshot now."""
    new = insert(Instance).values(name=name, seen_at=func.now())
    session.execute(new.on_conflict_do_update(index_elements=["name"], set_={"seen_at": func.now()}))


def present(session: Session) -> set[str]:
    """The names of the instances seen within `AWAY`."""
    return set(session.scalars(select(Instance.name).where(Instance.seen_at > func.now() - AWAY)))


def delete_one(session: Session, name: str) -> None:
    """Deletes an instance that has ended, so that no erasure waits for it. An unknown name is no error."""
    session.execute(delete(Instance).where(Instance.name == name))


def prune(session: Session) -> None:
    """Deletes the instances that were not seen within `AWAY`."""
    session.execute(delete(Instance).where(Instance.seen_at <= func.now() - AWAY))
