"""POST /predict and POST /predict/{task}: bytes to rows, rows to the predictor, predictions to a response."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from ai_api.http.context import PREDICTING, Ctx, Predicting, documented, errors, origin_of
from ai_api.http.field_types import VersionAsked
from ai_api.http.row_reading import read_body, read_rows
from ai_api.http.row_schemas import request_body
from ai_api.serving.predictor import PredictionBatch
from ai_api.task import Task


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
    router = APIRouter(tags=["predict"], dependencies=documented)

    @router.post("/predict", response_model_exclude_none=True, responses=errors(404, 413, 422, 429))
    async def predict(body: PredictRequest, request: Request, ctx: Ctx, caller: Predicting) -> PredictResponse:
        """Predict one row or many. The predictions are stored; their ids take corrections at /feedback."""
        task = ctx.loader.task(body.task)
        rows = await read_rows(task, body.inputs, ctx.max_rows)
        origin = origin_of(request, caller)
        return respond(task, await ctx.predictor.predict(task, rows, origin, version=body.version))

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
        response_model_exclude_none=True,
        responses=errors(404, 413, 422, 429),
        openapi_extra=request_body(task),
    )
    async def predict_task(
        request: Request, ctx: Ctx, caller: Predicting, version: VersionAsked | None = None
    ) -> PredictResponse:
        """The same for one row, as JSON or as a form."""
        row = await read_body(request, task)
        origin = origin_of(request, caller)
        return respond(task, await ctx.predictor.predict(task, [row], origin, version=version))


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
