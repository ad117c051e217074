"""The tasks, their versions, metrics and lineage; promote and roll back."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from ai_api.errors import RegistryUnavailable
from ai_api.http.context import READING, Context, Ctx, Training, documented, errors
from ai_api.http.field_types import Reason, VersionNumber
from ai_api.registry.versions import Version
from ai_api.serving.task_loader import LiveVersion
from ai_api.task import Task

router = APIRouter(tags=["models"], dependencies=documented)


class VersionView(BaseModel):
    """A trained pipeline. `synthetic`: it was trained on generated rows, so its metrics mean nothing."""

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
    """The champion that predicts now, since when, and how many rows wait for it."""

    version: int
    recipe: str
    since: datetime
    synthetic: bool
    metrics: dict[str, float]
    queued_rows: int


class TaskView(BaseModel):
    """A task and its champion. `refused` names the registry's champion when its check failed, with the reason."""

    task: str
    kind: str
    metric: str
    recipes: list[str]
    row: dict[str, object]
    serving: Serving | None
    refused: dict[str, object] | None


class TaskDetail(TaskView):
    """The same with every version, newest first; None while MLflow does not respond."""

    versions: list[VersionView] | None


class PromoteRequest(BaseModel):
    """`expected` is the champion that you have seen (null: none); 409 when another version is champion by now."""

    model_config = ConfigDict(extra="forbid")

    version: VersionNumber
    expected: VersionNumber | None = None
    reason: Reason = Field(examples=["better on returns"])


class RollbackRequest(BaseModel):
    """Why the previous champion shall serve again."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason = Field(examples=["complaints since yesterday"])


class Promoted(BaseModel):
    """The champion alias has moved; the new version takes over within seconds, without a gap."""

    task: str
    version: int
    previous: int | None


@router.get("/models", dependencies=[READING], responses=errors())
async def list_models(ctx: Ctx) -> list[TaskView]:
    """Every task and its champion."""
    return [task_view(ctx, task) for task in ctx.loader.tasks.values()]


@router.get("/models/{task}", dependencies=[READING], responses=errors(404))
async def get_model(task: str, ctx: Ctx) -> TaskDetail:
    """One task with its versions, their metrics and lineage."""
    wanted = ctx.loader.task(task)
    try:
        versions: list[Version] | None = await asyncio.to_thread(ctx.registry.versions, task)
    except RegistryUnavailable:
        versions = None
    views = None if versions is None else [VersionView.model_validate(asdict(version)) for version in versions]
    return TaskDetail(**task_view(ctx, wanted).model_dump(), versions=views)


@router.post("/models/{task}/promote", responses=errors(404, 409, 413, 422))
async def promote(task: str, body: PromoteRequest, ctx: Ctx, caller: Training) -> Promoted:
    """Make a version the champion. A rollback makes the previous champion serve again."""
    ctx.loader.task(task)
    version = await asyncio.to_thread(ctx.registry.version, task, body.version)
    ctx.outbox.admit(1)  # without room for its event there is no promotion
    await asyncio.to_thread(ctx.promotions.promote, version, body.expected, reason=body.reason, actor=caller.user_id)
    return Promoted(task=task, version=body.version, previous=body.expected)


@router.post("/models/{task}/rollback", responses=errors(404, 409, 413, 422))
async def rollback(task: str, body: RollbackRequest, ctx: Ctx, caller: Training) -> Promoted:
    """Make the previous champion serve again."""
    ctx.loader.task(task)
    ctx.outbox.admit(1)
    before, now = await asyncio.to_thread(ctx.promotions.rollback, task, reason=body.reason, actor=caller.user_id)
    return Promoted(task=task, version=now, previous=before)


def task_view(ctx: Context, task: Task) -> TaskView:
    """The task as GET /models shows it."""
    refused = ctx.loader.refused(task.name)
    return TaskView(
        task=task.name,
        kind=task.kind.value,
        metric=task.metric,
        recipes=[recipe.name for recipe in task.recipes],
        row=task.row.model_json_schema(),
        serving=serving_view(ctx.loader.serving(task.name)),
        refused=None if refused is None else {"version": refused.number, "reason": refused.reason},
    )


def serving_view(live: LiveVersion | None) -> Serving | None:
    """The champion as GET /models shows it."""
    if live is None:
        return None
    return Serving(
        version=live.number,
        recipe=live.model.version.recipe,
        since=live.since,
        synthetic=live.model.version.synthetic,
        metrics=live.model.version.metrics,
        queued_rows=len(live.batcher),
    )
