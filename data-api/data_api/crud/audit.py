"""Reading the audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Select, any_, select
from sqlalchemy.orm import Session, joinedload

from data_api.ids import floor
from data_api.models.audit import Action, Audit

from .page import page

Q = TypeVar("Q", bound=Select[Any])


@dataclass(frozen=True)
class AuditFilter:
    """Which lines; None: no condition."""

    entity: str | None = None
    entity_id: str | None = None
    action: Action | None = None
    field: str | None = None
    actor_id: UUID | None = None
    request_id: str | None = None
    after: datetime | None = None
    before: datetime | None = None


def latest(session: Session) -> UUID | None:
    """The id of the newest line."""
    return session.scalar(select(Audit.id).order_by(Audit.id.desc()).limit(1))


def with_values(query: Q) -> Q:
    """The query of audit lines, with the values before and after each change loaded along."""
    return query.options(joinedload(Audit.detail))


def find(session: Session, wanted: AuditFilter, limit: int, below: UUID | None) -> tuple[Sequence[Audit], bool]:
    """A page, newest first, with the values that are not erased."""
    query = with_values(select(Audit))
    for column, value in (
        (Audit.entity, wanted.entity),
        (Audit.entity_id, wanted.entity_id),
        (Audit.action, wanted.action),
        (Audit.actor_id, wanted.actor_id),
        (Audit.request_id, wanted.request_id),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.field is not None:
        query = query.where(any_(Audit.fields) == wanted.field)
    if wanted.after:
        query = query.where(Audit.id >= floor(wanted.after))
    if wanted.before:
        query = query.where(Audit.id < floor(wanted.before))
    return page(session, query, Audit.id, limit, below)
