"""POST /retrain, and the training jobs: list, read, follow, cancel."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from ai_api.http.context import READING, TRAINING, Ctx, Training, documented, errors
from ai_api.http.field_types import Params, Whole
from ai_api.jobs.job import Job
from ai_api.pipeline import check_params

router = APIRouter(tags=["train"], dependencies=documented)

LARGEST_ID = 2**63 - 1
JobId = Annotated[int, Field(ge=1, le=LARGEST_ID), Whole]


class RetrainRequest(BaseModel):
    """What to train. Without a recipe: the champion's, or the task's first."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"task": "tweets"}]})

    task: str = Field(max_length=100)
    recipe: str | None = Field(None, max_length=100)
    params: Params = Field(default_factory=dict, description="Parameters of the recipe's estimator, and `seed`")


class JobView(BaseModel):
    """A training job: waiting, running, succeeded, failed or cancelled.

    `result` has the version that was trained, whether it was promoted, and the reason.
    """

    id: int
    task: str
    recipe: str
    params: dict[str, object]
    status: str
    attempts: int
    actor: str | None
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    progress: dict[str, object] | None
    result: dict[str, object] | None
    error: str | None


class JobList(BaseModel):
    """Newest first; `next` is the `before` of the next page."""

    items: list[JobView]
    next: int | None


@router.post("/retrain", status_code=202, responses=errors(404, 409, 413, 422))
async def retrain(body: RetrainRequest, ctx: Ctx, caller: Training) -> JobView:
    """Train a task on its data and all corrections so far. One job per task; 409 names the job that waits or runs."""
    task = ctx.loader.task(body.task)
    recipe = task.recipe(body.recipe or ctx.loader.recipe(task.name))
    check_params(task, recipe, body.params)
    return job_view(await ctx.jobs.retrain(task.name, recipe.name, body.params, caller.user_id))


@router.get("/jobs", dependencies=[READING], responses=errors(404, 422))
async def list_jobs(
    ctx: Ctx,
    task: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=200), Whole] = 50,
    before: JobId | None = None,
) -> JobList:
    """The jobs, newest first."""
    if task is not None:
        ctx.loader.task(task)
    jobs = await ctx.jobs.list(task, limit, before)
    return JobList(items=[job_view(job) for job in jobs], next=jobs[-1].id if len(jobs) == limit else None)


@router.get("/jobs/{job_id}", dependencies=[READING], responses=errors(404, 422))
async def get_job(job_id: JobId, ctx: Ctx) -> JobView:
    """One job."""
    return job_view(await ctx.jobs.get(job_id))


@router.delete("/jobs/{job_id}", dependencies=[TRAINING], status_code=202, responses=errors(404, 422))
async def cancel_job(job_id: JobId, ctx: Ctx) -> JobView:
    """Cancel a job. A running one stops within seconds; one that has ended stays as it is."""
    return job_view(await ctx.jobs.cancel(job_id))


@router.get(
    "/jobs/{job_id}/events",
    dependencies=[READING],
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}, **errors(404, 422)},
)
async def job_events(
    job_id: JobId, request: Request, ctx: Ctx, after: Annotated[int, Query(ge=0, le=LARGEST_ID), Whole] = 0
) -> StreamingResponse:
    """The progress of a job as server-sent events, from its start (or after event `after`) to its end."""
    await ctx.jobs.get(job_id)
    resume = request.headers.get("last-event-id", "")
    start = int(resume) if re.fullmatch(r"[0-9]{1,18}", resume) else after

    async def stream() -> AsyncIterator[str]:
        async for event in ctx.jobs.events(job_id, start):
            data = json.dumps({"at": event.at.isoformat(), **event.data})
            yield f"id: {event.id}\nevent: {event.kind}\ndata: {data}\n\n"

    return StreamingResponse(
        stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


def job_view(job: Job) -> JobView:
    """The job as the calls show it."""
    return JobView.model_validate(asdict(job))
