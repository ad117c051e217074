"""POST /predict: rows in, answers with ids out, kept on disk before the caller has them, and pictures before those."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from uuid_utils.compat import uuid7

from ai_api.auth import Caller
from ai_api.blobs import Blobs
from ai_api.errors import InvalidRow, TooLarge
from ai_api.images import ImageRef
from ai_api.inference import ModelOutput
from ai_api.metrics import PREDICTIONS
from ai_api.task import Modality, Row, Task

from .context import PREDICTING, Context, Ctx, Predicting, documented, errors, request_id
from .validation import describe

VersionAsked = Annotated[int | str, Field(description="A version's number or an alias; default: the champion")]
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class PredictRequest(BaseModel):
    """One row or many rows of one task."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"task": "tweets", "inputs": {"text": "late again, thanks"}}]}
    )

    task: str = Field(max_length=100, examples=["tweets"])
    inputs: dict[str, object] | list[dict[str, object]] = Field(description="A row, or a list of rows")
    version: VersionAsked | None = None


class Prediction(BaseModel):
    """One answer. A classification has label, score and probabilities, a regression has value."""

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
    """The answers in the order of the rows, all of one version."""

    task: str
    version: int
    predictions: list[Prediction]
    timing: Timing


def router(tasks: Mapping[str, Task]) -> APIRouter:
    """The calls of every task; each task's own call shows its row in the OpenAPI document."""
    routes = APIRouter(tags=["predict"], dependencies=documented)

    @routes.post("/predict", response_model_exclude_none=True, responses=errors(404, 413, 422, 429))
    async def predict(body: PredictRequest, request: Request, ctx: Ctx, caller: Predicting) -> PredictResponse:
        """Predict one row or many. The answers are kept; their ids take corrections at /feedback."""
        task = ctx.loader.task(body.task)
        if isinstance(body.inputs, list):
            if len(body.inputs) > ctx.max_rows:  # before they are read, which takes its time
                raise TooLarge(f"At most {ctx.max_rows} rows fit one call (AI_MAX_ROWS).")
            rows = [await read_row(task, row, f"inputs.{place}") for place, row in enumerate(body.inputs)]
        else:
            rows = [await read_row(task, body.inputs, "inputs")]
        return await answer(ctx, caller, task, rows, body.version, request_id(request))

    for task in tasks.values():
        add_task_route(routes, task)

    @routes.post("/predict/{task}", include_in_schema=False, dependencies=[PREDICTING])
    async def predict_unknown(task: str, ctx: Ctx) -> None:
        ctx.loader.task(task)

    return routes


def add_task_route(routes: APIRouter, task: Task) -> None:
    name = task.row.__name__
    forms = {"multipart/form-data": f"{name}Form"} if task.row.columns(Modality.IMAGE) else dict.fromkeys(FORMS, name)
    content = {
        kind: {"schema": {"$ref": f"#/components/schemas/{schema}"}}
        for kind, schema in {"application/json": name, **forms}.items()
    }
    body = {"requestBody": {"required": True, "content": content}}

    @routes.post(
        f"/predict/{task.name}",
        name=f"predict_{task.name}",
        summary=f"Predict one row of {task.name}",
        response_model_exclude_none=True,
        responses=errors(404, 413, 422, 429),
        openapi_extra=body,
    )
    async def predict_task(
        request: Request, ctx: Ctx, caller: Predicting, version: VersionAsked | None = None
    ) -> PredictResponse:
        """The same for one row, as JSON or as a form."""
        row = await row_of(request, task)
        return await answer(ctx, caller, task, [row], version, request_id(request))


def schemas(tasks: Mapping[str, Task]) -> dict[str, dict[str, object]]:
    """The rows of the tasks by name, for the OpenAPI document; those with images also as a form with files."""
    rows = list(dict.fromkeys(task.row for task in tasks.values()))
    forms = {f"{row.__name__}Form": form_schema(row) for row in rows if row.columns(Modality.IMAGE)}
    return {row.__name__: row.model_json_schema() for row in rows} | forms


def form_schema(row: type[Row]) -> dict[str, object]:
    """The schema of a row whose images are files."""
    schema = row.model_json_schema()
    for name in row.columns(Modality.IMAGE):
        told = {key: value for key, value in schema["properties"][name].items() if key in ("title", "description")}
        schema["properties"][name] = {"type": "string", "format": "binary", **told}
    return schema


async def row_of(request: Request, task: Task) -> Row:
    """The row in a request's body: JSON, or a form whose fields are the row's, its images as files."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in FORMS:
        images = task.row.columns(Modality.IMAGE)
        async with request.form(max_files=max(1, len(images)), max_fields=100) as form:
            fields: dict[str, object] = dict(form)
            for name, value in form.items():
                if isinstance(value, UploadFile):
                    if name not in images:
                        raise InvalidRow(f"Files: {', '.join(images)}." if images else "This task takes no files.")
                    fields[name] = await value.read()
                if name in images:
                    fields[name] = fields[name] or None  # a form in which no file was chosen sends an empty one
            return await read_row(task, fields, "body", strict=False)
    try:
        found = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise InvalidRow("body: not valid JSON") from None
    return await read_row(task, found, "body")


async def read_row(task: Task, found: object, place: str, *, strict: bool = True) -> Row:
    """The typed row; InvalidRow says what is wrong without repeating it.

    A form's fields are texts: they are read less strictly. Pictures are decoded, so rows that have some wait for a
    thread, one at a time, while others are answered.
    """
    if isinstance(found, Mapping) and any(found.get(name) for name in task.row.columns(Modality.IMAGE)):
        return await asyncio.to_thread(validated, task, found, place, strict=strict)
    return validated(task, found, place, strict=strict)


def validated(task: Task, found: object, place: str, *, strict: bool) -> Row:
    try:
        return task.row.model_validate(found, strict=strict)
    except ValidationError as error:
        known = frozenset(task.row.model_fields)
        raise InvalidRow(describe(error.errors(include_input=False, include_context=False), known, place)) from None


async def answer(
    ctx: Context, caller: Caller, task: Task, rows: Sequence[Row], version: int | str | None, request: str
) -> PredictResponse:
    """Asks the version, keeps the answers, gives them. Whoever fails before the commit gets an error and no answer."""
    started = time.perf_counter()
    if not rows:
        raise InvalidRow("inputs: at least one row")
    live = await ctx.loader.get(task.name, version)
    ctx.outbox.admit(len(rows))
    answered = await live.batcher.submit(rows)
    timing = {
        "queue_ms": round(answered.queue_seconds * 1e3, 3),
        "compute_ms": round(answered.compute_seconds * 1e3, 3),
    }
    role = "champion" if version in (None, "champion") else "pinned"
    events = [
        event(task, live.number, row, given, caller, role, request, timing)
        for row, given in zip(rows, answered.answers, strict=True)
    ]
    with ctx.eraser.answering(caller.user_id):
        if pictures := pictures_of(task, rows):
            await asyncio.to_thread(keep, ctx.blobs, pictures, caller.user_id, task.name)
        await ctx.outbox.put("prediction", events)
    PREDICTIONS.labels(task.name, str(live.number)).inc(len(rows))
    return PredictResponse(
        task=task.name,
        version=live.number,
        predictions=[
            Prediction.model_validate({"prediction_id": kept["id"], **given})
            for kept, given in zip(events, answered.answers, strict=True)
        ],
        timing=Timing(**timing, total_ms=round((time.perf_counter() - started) * 1e3, 3)),
    )


def pictures_of(task: Task, rows: Sequence[Row]) -> set[ImageRef]:
    """The different pictures in these rows."""
    columns = task.row.columns(Modality.IMAGE)
    return {getattr(row, name) for name in columns for row in rows} - {None}


def keep(blobs: Blobs, pictures: Iterable[ImageRef], owner: str, task: str) -> None:
    for picture in pictures:
        blobs.put(picture, owner, task)


def event(
    task: Task,
    version: int,
    row: Row,
    given: ModelOutput,
    caller: Caller,
    role: str,
    request: str,
    timing: Mapping[str, float],
) -> dict[str, object]:
    """What is kept of one answer, in the shape that data-api takes."""
    return {
        "id": str(uuid7()),
        "task": task.name,
        "version": version,
        "row": row.model_dump(mode="json"),
        "row_schema": task.row_version,
        "answer": given,
        "user_id": caller.user_id,
        "role": role,
        "rollout": None,
        "request_id": request,
        "timing": timing,
    }
