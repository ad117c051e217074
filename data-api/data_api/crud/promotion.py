"""Promotions in and out."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from data_api.models import Promotion

from .bulk import Outcome, Values, insert
from .page import page


def store(session: Session, rows: Sequence[Values]) -> list[Outcome]:
    """Inserts what is new."""
    return insert(session, Promotion, rows)


def find(session: Session, task: str | None, limit: int, below: UUID | None) -> tuple[Sequence[Promotion], bool]:
    """A page, newest first."""
    query = select(Promotion)
    if task is not None:
        query = query.where(Promotion.task == task)
    return page(session, query, Promotion.id, limit, below)
