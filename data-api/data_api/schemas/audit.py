"""Bodies of the audit."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from data_api.models.audit import Action

from .base import Moment, Schema


class AuditOut(Schema):
    """One change: its actor, the entity and the fields. `before` and `after` hold their values without secrets; null
    once erased.
    """

    id: UUID
    created_at: Moment
    actor_kind: Literal["user", "service", "command", "anonymous"]
    actor_id: UUID | None
    action: Action
    entity: str
    entity_id: str
    fields: list[str]
    request_id: str | None
    before: dict[str, object] | None
    after: dict[str, object] | None
