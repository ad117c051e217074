"""The tasks, their versions, metrics and lineage; promote and roll back."""

from __future__ import annotations

import asyncio
from datetime import datetime
from functools import partial

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from ai_api.auth import Caller
from ai_api.errors import NotAllowed, RegistryUnavailable
from ai_api.http.body.guarded_route import GuardedRoute
from ai_api.http.context import BODY_STATUSES, READING, Context, Ctx, Reading, Training, documented, errors
from ai_api.http.field_types import Reason, VersionNumber
from ai_api.registry.versions import Version
from ai_api.serving.model_check import check_model
from ai_api.serving.task_loader import LiveVersion
from ai_api.task import Task

router = APIRouter(route_class=GuardedRoute, tags=["models"], dependencies=documented)


class VersionView(BaseModel):
    """A trained pipeline. `synthetic`: it was trained on generated rows, so its metrics mean nothing.

    `signed_by`: trainer, admin or command line; None: it has no valid signature, so it does not serve.
    """

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
    digest: str
    signed_by: str | None
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


@router.get("/models/{task}", responses=errors(404))
async def get_model(task: str, ctx: Ctx, caller: Reading) -> TaskDetail:
    """One task with its versions, their metrics and lineage."""
    wanted = ctx.loader.task(task)
    try:
        versions = await asyncio.to_thread(ctx.registry.versions, task)
    except RegistryUnavailable:
        views = None
    else:
        views = await asyncio.to_thread(lambda: [version_view(ctx, version, caller) for version in versions])
    return TaskDetail(**task_view(ctx, wanted).model_dump(), versions=views)


@router.post("/models/{task}/promote", responses=errors(404, 409, *BODY_STATUSES))
async def promote(task: str, body: PromoteRequest, ctx: Ctx, caller: Training) -> Promoted:
    """Make a version the champion. A rollback makes the previous champion serve again.

    A version without a valid signature, which none of your trainers made, is promoted by an admin only: its files and
    classes are checked, and it is signed.
    """
    wanted = ctx.loader.task(task)
    version = await asyncio.to_thread(ctx.registry.version, task, body.version)
    if not await asyncio.to_thread(ctx.registry.is_signed, version):
        if caller.role != "admin":
            raise NotAllowed("No trainer of yours made this version: only an admin may promote it, which signs it.")
        version = await asyncio.to_thread(
            ctx.registry.sign, version, f"admin:{caller.user_id}", partial(check_model, wanted)
        )
    ctx.outbox.admit(1)  # without room for its event there is no promotion
    await asyncio.to_thread(ctx.promotions.promote, version, body.expected, reason=body.reason, actor=caller.user_id)
    return Promoted(task=task, version=body.version, previous=body.expected)


@router.post("/models/{task}/rollback", responses=errors(404, 409, *BODY_STATUSES))
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


def version_view(ctx: Context, version: Version, caller: Caller) -> VersionView:
    """The version as GET /models/{task} shows it to this caller. Versions of earlier releases name who trained them."""
    signer = version.signature.by.partition(":")[0] if version.signature else None  # without the admin's id
    view = VersionView(
        **{name: getattr(version, name) for name in VersionView.model_fields if name != "signed_by"},
        signed_by=signer if ctx.registry.is_signed(version) else None,
    )
    if not caller.may_see(view.lineage.get("actor")):
        view.lineage.pop("actor", None)
    return view


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
