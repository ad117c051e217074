"""Probes. Live: the process answers. Ready: it can take predictions and keep the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from ai_api.errors import QueueUnavailable
from ai_api.jobs.job import Job

from .context import Context, Ctx

routes = APIRouter(tags=["health"])

QUEUE_SECONDS = 1.0
"""Longest that a probe waits for the queue, which only has more to say about tasks that do not serve yet."""
JOBS = 50
"""Newest jobs that are looked through."""


class Health(BaseModel):
    """`waiting` lists what is missing; empty when ready. `notes` lists what is away but does not stop predictions.

    `serving` and `missing` are the tasks that have a version to answer with, and those that do not yet.
    """

    ready: bool
    waiting: list[str]
    notes: list[str]
    serving: list[str]
    missing: list[str]


@routes.get("/health/live")
async def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@routes.get("/health/ready", response_model=Health, responses={503: {"model": Health}})
async def ready(ctx: Ctx) -> JSONResponse:
    """200 when every champion that there is, and at least one, serves and answers can be kept; else 503.

    A task without a champion stops nobody: its first version may be hours away.
    """
    missing = [name for name in ctx.loader.tasks if ctx.loader.serving(name) is None]
    waiting = [] if len(missing) < len(ctx.loader.tasks) else ["no version of any task serves yet"]
    waiting += [f"{name}: its champion is not loaded yet" for name in missing if ctx.loader.is_loading(name)]
    if not ctx.callers.are_known:
        waiting.append("who may call is not known: data-api has not answered, or not for too long")
    if len(ctx.outbox) >= ctx.outbox.max_rows:
        waiting.append("the outbox is full")
    notes = [] if ctx.loader.registry_answers else ["MLflow does not answer"]
    notes += await _about(ctx, missing)
    if ctx.shipper.last_error:
        notes.append(f"{len(ctx.outbox)} rows wait for data-api")
    if ctx.outbox.dead_letters:
        notes.append(f"{ctx.outbox.dead_letters} rows were refused by data-api for good")
    serving = [name for name in ctx.loader.tasks if name not in missing]
    body = Health(ready=not waiting, waiting=waiting, notes=notes, serving=serving, missing=missing)
    return JSONResponse(body.model_dump(), 200 if body.ready else 503)


async def _about(ctx: Context, missing: Sequence[str]) -> list[str]:
    """Why tasks do not serve, as far as it is known."""
    jobs: dict[str, Job] = {}
    if missing:
        with suppress(QueueUnavailable, TimeoutError):
            async with asyncio.timeout(QUEUE_SECONDS):
                jobs = {job.task: job for job in reversed(await ctx.jobs.list(limit=JOBS))}
    return [_why(ctx.loader.refused(name), jobs.get(name), name) for name in missing]


def _why(refused: tuple[int, str] | None, job: Job | None, name: str) -> str:
    if refused:
        return f"{name}: version {refused[0]} does not serve: {refused[1]}"
    return f"{name}: no version serves yet" + (f"; its newest job, {job.id}: {job.status}" if job else "")
