"""POST /retrain, and the training jobs: list, read, follow, cancel."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from ai_api.auth import Caller
from ai_api.http.body.guarded_route import GuardedRoute
from ai_api.http.context import BODY_STATUSES, Ctx, Reading, Training, documented, errors
from ai_api.http.field_types import Params, Whole
from ai_api.jobs.job import Job, JobEvent, Status
from ai_api.pipeline import check_params

router = APIRouter(route_class=GuardedRoute, tags=["train"], dependencies=documented)

LARGEST_ID = 2**63 - 1
KEEP_ALIVE = ": keep-alive\n\n"
"""A comment, which readers of server-sent events ignore."""
JobId = Annotated[int, Field(ge=1, le=LARGEST_ID), Whole]


class RetrainRequest(BaseModel):
    """What to train. Without a recipe: the champion's, or the task's first."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"task": "tweets"}]})

    task: str = Field(max_length=100)
    recipe: str | None = Field(None, max_length=100)
    params: Params = Field(default_factory=dict, description="Parameters of the recipe's estimator, and `seed`")


class JobView(BaseModel):
    """A training job: waiting, running, succeeded, failed or cancelled.

    `result` has the version that was trained, whether it was promoted, and the reason. `actor` is the id of the person
    who asked for it, for trainers and for this person.
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


@router.post("/retrain", status_code=202, responses=errors(404, 409, *BODY_STATUSES))
async def retrain(body: RetrainRequest, ctx: Ctx, caller: Training) -> JobView:
    """Train a task on its data and all corrections so far. One job per task; 409 names the job that waits or runs."""
    task = ctx.loader.task(body.task)
    recipe = task.recipe(body.recipe or ctx.loader.recipe(task.name))
    check_params(task, recipe, body.params)
    return job_view(await ctx.jobs.retrain(task.name, recipe.name, body.params, caller.user_id), caller)


@router.get("/jobs", responses=errors(404, 422))
async def list_jobs(
    ctx: Ctx,
    caller: Reading,
    task: Annotated[str | None, Query(max_length=100)] = None,
    status: Status | None = None,
    limit: Annotated[int, Query(ge=1, le=200), Whole] = 50,
    before: JobId | None = None,
) -> JobList:
    """The jobs, newest first."""
    if task is not None:
        ctx.loader.task(task)
    jobs = await ctx.jobs.list(task, status, limit, before)
    return JobList(items=[job_view(job, caller) for job in jobs], next=jobs[-1].id if len(jobs) == limit else None)


@router.get("/jobs/{job_id}", responses=errors(404, 422))
async def get_job(job_id: JobId, ctx: Ctx, caller: Reading) -> JobView:
    """One job."""
    return job_view(await ctx.jobs.get(job_id), caller)


@router.delete("/jobs/{job_id}", status_code=202, responses=errors(404, 422))
async def cancel_job(job_id: JobId, ctx: Ctx, caller: Training) -> JobView:
    """Cancel a job. A running one stops within seconds; one that has ended stays as it is."""
    return job_view(await ctx.jobs.cancel(job_id), caller)


async def open_stream(ctx: Ctx, caller: Reading) -> AsyncIterator[None]:
    """Counts the stream as open until its response has ended, for whatever reason."""
    with ctx.jobs.stream(caller.user_id):
        yield


@router.get(
    "/jobs/{job_id}/events",
    dependencies=[Depends(open_stream)],
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}, **errors(404, 422, 429)},
)
async def job_events(
    job_id: JobId, request: Request, ctx: Ctx, after: Annotated[int, Query(ge=0, le=LARGEST_ID), Whole] = 0
) -> StreamingResponse:
    """The progress of a job as server-sent events, from its start (or after event `after`) to its end.

    A stream also ends when the service stops: continue it with `Last-Event-ID`, as browsers do.
    """
    await ctx.jobs.get(job_id)
    resume = request.headers.get("last-event-id", "")
    start = int(resume) if re.fullmatch(r"[0-9]{1,18}", resume) else after

    async def stream() -> AsyncIterator[str]:
        async for events in ctx.jobs.follow(job_id, start):
            yield "".join(map(sent_event, events)) or KEEP_ALIVE

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def sent_event(event: JobEvent) -> str:
    """The event as a stream sends it."""
    data = json.dumps({"at": event.at.isoformat(), **event.data})
    return f"id: {event.id}\nevent: {event.kind}\ndata: {data}\n\n"


def job_view(job: Job, caller: Caller) -> JobView:
    """The job as the calls show it to this caller."""
    view = JobView.model_validate(asdict(job))
    return view if caller.may_see(view.actor) else view.model_copy(update={"actor": None})
