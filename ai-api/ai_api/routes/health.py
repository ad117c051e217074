"""Probes. Live: the process responds. Ready: it can predict and store predictions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from ai_api.errors import QueueUnavailable
from ai_api.http.body.guarded_route import GuardedRoute
from ai_api.http.context import Context, Ctx
from ai_api.jobs.job import Job
from ai_api.serving.task_loader import RefusedVersion

router = APIRouter(route_class=GuardedRoute, tags=["health"])

QUEUE_SECONDS = 1.0
"""Longest that a probe waits for the queue, which is asked only why a task does not serve yet."""
JOBS = 50
"""How many of the newest jobs are searched."""


class Health(BaseModel):
    """`waiting` lists what is missing; empty when ready. `notes` lists what is away but does not stop predictions.

    `serving` and `missing` are the tasks that have a champion here, and those that do not yet.
    """

    ready: bool
    waiting: list[str]
    notes: list[str]
    serving: list[str]
    missing: list[str]


@router.get("/health/live")
async def live() -> dict[str, str]:
    """The process responds."""
    return {"status": "live"}


@router.get("/health/ready", response_model=Health, responses={503: {"model": Health}})
async def ready(ctx: Ctx) -> JSONResponse:
    """200 when at least one champion exists, all champions serve, and predictions can be stored; else 503.

    A task without a champion does not count: its first version may take hours to train.
    """
    missing = [name for name in ctx.loader.tasks if ctx.loader.serving(name) is None]
    waiting = [] if len(missing) < len(ctx.loader.tasks) else ["no version of any task serves yet"]
    waiting += [f"{name}: its champion is not loaded yet" for name in missing if ctx.loader.is_loading(name)]
    if not ctx.callers.are_known:
        waiting.append("callers cannot be checked: data-api has not responded yet, or not for too long")
    if len(ctx.outbox) >= ctx.outbox.max_rows:
        waiting.append("the outbox is full")
    notes = [] if ctx.loader.registry_responds else ["MLflow does not respond"]
    notes += await _reasons(ctx, missing)
    if ctx.shipper.last_error:
        notes.append(f"{len(ctx.outbox)} rows wait for data-api")
    if ctx.outbox.dead_letters:
        notes.append(f"{ctx.outbox.dead_letters} rows were refused by data-api for good")
    serving = [name for name in ctx.loader.tasks if name not in missing]
    body = Health(ready=not waiting, waiting=waiting, notes=notes, serving=serving, missing=missing)
    return JSONResponse(body.model_dump(), 200 if body.ready else 503)


async def _reasons(ctx: Context, missing: Sequence[str]) -> list[str]:
    """Why each task does not serve, as far as it is known."""
    jobs: dict[str, Job] = {}
    if missing:
        with suppress(QueueUnavailable, TimeoutError):
            async with asyncio.timeout(QUEUE_SECONDS):
                jobs = {job.task: job for job in reversed(await ctx.jobs.list(limit=JOBS))}
    return [_reason(ctx.loader.refused(name), jobs.get(name), name) for name in missing]


def _reason(refused: RefusedVersion | None, job: Job | None, name: str) -> str:
    if refused:
        return f"{name}: version {refused.number} does not serve: {refused.reason}"
    return f"{name}: no version serves yet" + (f"; its newest job, {job.id}: {job.status}" if job else "")
