"""Keyset pagination, newest first: the next page is read from the index below the last id, at constant cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

T = TypeVar("T")
Q = TypeVar("Q", bound=Select[Any])


def first_rows(query: Q, most: int) -> Q:
    """The query, bounded to its first rows."""
    return query.limit(most)


def page(
    session: Session, query: Select[T], key: InstrumentedAttribute[UUID], limit: int, below: UUID | None
) -> tuple[Sequence[T], bool]:
    """Up to `limit` rows with ids below `below`, and whether there are more."""
    if below is not None:
        query = query.where(key < below)
    rows = session.scalars(query.order_by(key.desc()).limit(limit + 1)).all()
    return rows[:limit], len(rows) > limit
