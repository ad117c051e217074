"""What serves, its versions, metrics and lineage; change it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from ai_api.errors import RegistryUnavailable
from ai_api.registry.versions import Version
from ai_api.task import Task, Text

from .context import READING, Context, Ctx, Training, documented, errors

routes = APIRouter(tags=["models"], dependencies=documented)


class VersionView(BaseModel):
    """A trained pipeline. `synthetic` means that it was trained on generated rows: its figures mean nothing."""

    number: int
    recipe: str
    run_id: str
    created_at: datetime
    aliases: tuple[str, ...]
    metrics: dict[str, float]
    labels: tuple[str, ...] | None
    synthetic: bool
    row_version: int
    data_hash: str
    lineage: dict[str, str]


class Serving(BaseModel):
    """The version that answers now, since when, and what waits for it."""

    version: int
    recipe: str
    since: datetime
    synthetic: bool
    metrics: dict[str, float]
    queued_rows: int


class TaskView(BaseModel):
    """A task and what serves it. `refused` names a champion of the registry that was not let in, and why."""

    task: str
    kind: str
    metric: str
    recipes: list[str]
    row: dict[str, object]
    serving: Serving | None
    refused: dict[str, object] | None


class TaskDetail(TaskView):
    """The same with every version, newest first; None while MLflow does not answer."""

    versions: list[VersionView] | None


class PromoteRequest(BaseModel):
    """`expected` is the champion that you looked at (null: none); 409 when another serves by now."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=1, le=2**31 - 1)
    expected: int | None = Field(None, ge=1, le=2**31 - 1)
    reason: Text = Field(min_length=1, max_length=1_000, examples=["better on returns"])


class RollbackRequest(BaseModel):
    """Why the version before is to serve again."""

    model_config = ConfigDict(extra="forbid")

    reason: Text = Field(min_length=1, max_length=1_000, examples=["complaints since yesterday"])


class Promoted(BaseModel):
    """The champion alias has moved; the new version takes over within seconds, without a gap."""

    task: str
    version: int
    previous: int | None


@routes.get("/models", dependencies=[READING], responses=errors())
async def list_models(ctx: Ctx) -> list[TaskView]:
    """Every task and what serves it."""
    return [view(ctx, task) for task in ctx.loader.tasks.values()]


@routes.get("/models/{task}", dependencies=[READING], responses=errors(404))
async def get_model(task: str, ctx: Ctx) -> TaskDetail:
    """One task with its versions, their metrics and lineage."""
    found = ctx.loader.task(task)
    try:
        versions: list[Version] | None = await asyncio.to_thread(ctx.registry.versions, task)
    except RegistryUnavailable:
        versions = None
    shown = None if versions is None else [VersionView.model_validate(asdict(version)) for version in versions]
    return TaskDetail(**view(ctx, found).model_dump(), versions=shown)


@routes.post("/models/{task}/promote", responses=errors(404, 409, 413, 422))
async def promote(task: str, body: PromoteRequest, ctx: Ctx, caller: Training) -> Promoted:
    """Make a version the champion. A rollback makes the previous champion serve again."""
    ctx.loader.task(task)
    version = await asyncio.to_thread(ctx.registry.version, task, body.version)
    ctx.outbox.admit(1)  # without room for its event there is no promotion
    await asyncio.to_thread(ctx.promotions.promote, version, body.expected, reason=body.reason, actor=caller.user_id)
    return Promoted(task=task, version=body.version, previous=body.expected)


@routes.post("/models/{task}/rollback", responses=errors(404, 409, 413, 422))
async def rollback(task: str, body: RollbackRequest, ctx: Ctx, caller: Training) -> Promoted:
    """Make the previous champion serve again."""
    ctx.loader.task(task)
    ctx.outbox.admit(1)
    before, now = await asyncio.to_thread(ctx.promotions.rollback, task, reason=body.reason, actor=caller.user_id)
    return Promoted(task=task, version=now, previous=before)


def view(ctx: Context, task: Task) -> TaskView:
    live = ctx.loader.serving(task.name)
    refused = ctx.loader.refused(task.name)
    return TaskView(
        task=task.name,
        kind=task.kind.value,
        metric=task.metric,
        recipes=[recipe.name for recipe in task.recipes],
        row=task.row.model_json_schema(),
        serving=None
        if live is None
        else Serving(
            version=live.number,
            recipe=live.model.version.recipe,
            since=live.since,
            synthetic=live.model.version.synthetic,
            metrics=live.model.version.metrics,
            queued_rows=len(live.batcher),
        ),
        refused=None if refused is None else {"version": refused[0], "reason": refused[1]},
    )
