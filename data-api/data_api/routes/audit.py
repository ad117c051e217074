"""GET /audit: who changed what."""

from __future__ import annotations

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from data_api.crud import audit
from data_api.http.body.guarded_route import GuardedRoute
from data_api.http.caller import Admin
from data_api.http.export import CSV, Responder
from data_api.models.audit import Action
from data_api.schemas.audit import AuditOut
from data_api.schemas.base import Name, Page, QueryMoment, RequestId

router = APIRouter(route_class=GuardedRoute, prefix="/audit", tags=["audit"])


@router.get("", response_model=Page[AuditOut], responses=CSV)
def find(
    _: Admin,
    responder: Responder,
    entity: Annotated[Name | None, Query(examples=["users"], description="The table of the changed row.")] = None,
    entity_id: Annotated[Name | None, Query(description="The primary key of the changed row.")] = None,
    action: Action | None = None,
    field: Annotated[Name | None, Query(examples=["role"], description="A field that was changed.")] = None,
    actor_id: Annotated[UUID | None, Query(description="The user who made the change.")] = None,
    request_id: RequestId | None = None,
    after: QueryMoment | None = None,
    before: QueryMoment | None = None,
) -> Response:
    """Lists who changed what, newest first, whether over HTTP, on the admin page or by a command."""
    wanted = audit.AuditFilter(entity, entity_id, action, field, actor_id, request_id, after, before)
    return responder.respond("audit", AuditOut, partial(audit.find, wanted=wanted))
