"""Promotions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from data_api.ids import floor
from data_api.models.promotions import Promotion

from .bulk import RowOutcome, Values, insert
from .page import page


@dataclass(frozen=True)
class PromotionFilter:
    """Which promotions; None: no condition."""

    task: str | None = None
    version: int | None = None
    action: str | None = None
    after: datetime | None = None
    before: datetime | None = None


def store(session: Session, rows: Sequence[Values]) -> list[RowOutcome]:
    """Inserts the rows that are new."""
    return insert(session, Promotion, rows)


def find(session: Session, wanted: PromotionFilter, limit: int, below: UUID | None) -> tuple[Sequence[Promotion], bool]:
    """A page, newest first."""
    query = select(Promotion)
    for column, value in (
        (Promotion.task, wanted.task),
        (Promotion.version, wanted.version),
        (Promotion.action, wanted.action),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.after:
        query = query.where(Promotion.id >= floor(wanted.after))
    if wanted.before:
        query = query.where(Promotion.id < floor(wanted.before))
    return page(session, query, Promotion.id, limit, below)


def latest(session: Session, task: str, version: int, run_id: str | None) -> Promotion | None:
    """The last promotion of a version; one with a run id is preferred. With `run_id`, none of another run."""
    query = select(Promotion).where(Promotion.task == task, Promotion.version == version, Promotion.action != "remove")
    if run_id is not None:
        query = query.where(or_(Promotion.run_id.is_(None), Promotion.run_id == run_id))
    return session.scalar(query.order_by(Promotion.run_id.is_(None), Promotion.id.desc()).limit(1))
