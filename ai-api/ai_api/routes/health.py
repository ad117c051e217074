"""Probes. Live: the process answers. Ready: it can take predictions for every task and keep the answers."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from .context import Ctx

routes = APIRouter(tags=["health"])


class Health(BaseModel):
    """`waiting` lists what is missing; empty when ready. `notes` lists what is away but does not stop predictions."""

    ready: bool
    waiting: list[str]
    notes: list[str]


@routes.get("/health/live")
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@routes.get("/health/ready", response_model=Health, responses={503: {"model": Health}})
async def ready(ctx: Ctx) -> JSONResponse:
    """200 when every task serves and answers can be kept; 503 with what is missing else."""
    waiting = [f"{name}: no version serves yet" for name in ctx.loader.tasks if ctx.loader.serving(name) is None]
    if not ctx.callers.are_known:
        waiting.append("who may call is not known: data-api has not answered, or not for too long")
    if len(ctx.outbox) >= ctx.outbox.max_rows:
        waiting.append("the outbox is full")
    notes = [] if ctx.loader.registry_answers else ["MLflow does not answer"]
    if ctx.shipper.last_error:
        notes.append(f"{len(ctx.outbox)} rows wait for data-api")
    if ctx.outbox.dead_letters:
        notes.append(f"{ctx.outbox.dead_letters} rows were refused by data-api for good")
    body = Health(ready=not waiting, waiting=waiting, notes=notes)
    return JSONResponse(body.model_dump(), 200 if body.ready else 503)
