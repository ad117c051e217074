"""Health probes."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends

from data_api.crud import health
from data_api.errors import NotReady
from data_api.http.body.guarded_route import GuardedRoute
from data_api.http.session import DbSession
from data_api.schemas.base import Schema
from data_api.setup.migrations import head

router = APIRouter(route_class=GuardedRoute, prefix="/health", tags=["health"])
Expected = Annotated[str | None, Depends(head)]


class Health(Schema):
    """The state of a healthy service."""

    status: Literal["alive", "ready"]


@router.get("/live")
async def live() -> Health:
    """Whether the process responds."""
    return Health(status="alive")


@router.get("/ready")
def ready(session: DbSession, expected: Expected) -> Health:
    """Whether Postgres responds and has the tables that this version expects; else 503 with the reason."""
    found = health.revision(session)
    if found is None or (expected and found < expected):
        raise NotReady("Migrations are missing. Run `data-api setup`.")
    return Health(status="ready")
