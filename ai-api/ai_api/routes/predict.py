"""POST /predict and POST /predict/{task}: bytes to rows, rows to the predictor, predictions to a response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ai_api.auth import Caller
from ai_api.http.body.guarded_route import GuardedRoute
from ai_api.http.context import BODY_STATUSES, PREDICTING, Context, Ctx, Predicting, documented, errors, origin_of
from ai_api.http.field_types import VersionAsked
from ai_api.http.idempotency import KeyedCall, KeyHeader
from ai_api.http.row_reading import read_body, read_rows
from ai_api.http.row_schemas import request_body
from ai_api.serving.predictor import PredictionBatch
from ai_api.task import Row, Task


class PredictRequest(BaseModel):
    """One row or many rows of one task."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"task": "tweets", "inputs": {"text": "late again, thanks"}}]}
    )

    task: str = Field(max_length=100, examples=["tweets"])
    inputs: dict[str, object] | list[dict[str, object]] = Field(description="A row, or a list of rows")
    version: VersionAsked | None = None


class Prediction(BaseModel):
    """One prediction. A classification has label, score and probabilities, a regression has value."""

    prediction_id: str
    label: str | None = None
    score: float | None = None
    probabilities: dict[str, float] | None = None
    value: float | None = None


class Timing(BaseModel):
    """Where the time went, in milliseconds."""

    queue_ms: float
    compute_ms: float
    total_ms: float


class PredictResponse(BaseModel):
    """The predictions in the order of the rows, all of one version."""

    task: str
    version: int
    predictions: list[Prediction]
    timing: Timing


def build_router(tasks: Mapping[str, Task]) -> APIRouter:
    """The calls for all tasks; each task's own call shows its row in the OpenAPI document."""
    router = APIRouter(route_class=GuardedRoute, tags=["predict"], dependencies=documented)

    @router.post(
        "/predict",
        response_model=PredictResponse,
        response_model_exclude_none=True,
        responses=errors(404, 409, *BODY_STATUSES),
    )
    async def predict(
        body: PredictRequest, request: Request, ctx: Ctx, caller: Predicting, key: KeyHeader = None
    ) -> PredictResponse | Response:
        """Predict one row or many. The predictions are stored; their ids take corrections at /feedback."""
        task = ctx.loader.task(body.task)
        rows = await read_rows(task, body.inputs, ctx.max_rows, ctx.decoder.call(caller.user_id))
        return await predict_rows(Asked(task, rows, body.version, key), request, ctx, caller)

    for task in tasks.values():
        add_task_route(router, task)

    @router.post("/predict/{task}", include_in_schema=False, dependencies=[PREDICTING])
    async def predict_unknown(task: str, ctx: Ctx) -> None:
        ctx.loader.task(task)

    return router


def add_task_route(router: APIRouter, task: Task) -> None:
    """The call for one row of one task."""

    @router.post(
        f"/predict/{task.name}",
        name=f"predict_{task.name}",
        summary=f"Predict one row of {task.name}",
        response_model=PredictResponse,
        response_model_exclude_none=True,
        responses=errors(404, 409, *BODY_STATUSES),
        openapi_extra=request_body(task),
    )
    async def predict_task(
        request: Request, ctx: Ctx, caller: Predicting, version: VersionAsked | None = None, key: KeyHeader = None
    ) -> PredictResponse | Response:
        """The same for one row, as JSON or as a form."""
        row = await read_body(request, task, ctx.decoder.call(caller.user_id))
        return await predict_rows(Asked(task, [row], version, key), request, ctx, caller)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks to predict. `key`: its Idempotency-Key."""

    task: Task
    rows: list[Row]
    version: VersionAsked | None
    key: str | None


async def predict_rows(asked: Asked, request: Request, ctx: Context, caller: Caller) -> PredictResponse | Response:
    """The predictions; with a key, those of the first request with it."""
    task = asked.task
    predict = partial(ctx.predictor.predict, task, asked.rows, origin_of(request, caller), version=asked.version)
    if asked.key is None:
        return respond(task, await predict())
    call = KeyedCall(request, caller, asked.key, [asked.version, *(row.model_dump_json() for row in asked.rows)])
    return await ctx.idempotency.run(call, lambda keep: predict(keep=lambda made: keep(respond(task, made))), 200)


def respond(task: Task, made: PredictionBatch) -> PredictResponse:
    """The predictions as the response shows them."""
    return PredictResponse(
        task=task.name,
        version=made.version,
        predictions=[
            Prediction.model_validate({"prediction_id": id_, **output})
            for id_, output in zip(made.ids, made.outputs, strict=True)
        ],
        timing=Timing(queue_ms=made.queue_ms, compute_ms=made.compute_ms, total_ms=made.total_ms),
    )
