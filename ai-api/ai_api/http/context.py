"""What the routes share: the wired pieces, the check of the caller, and the errors in the OpenAPI document."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BaseModel

from ai_api.auth import Caller, Callers
from ai_api.images.blobs import Blobs
from ai_api.jobs.queue import Jobs
from ai_api.outbox.outbox import Outbox
from ai_api.outbox.shipper import Shipper
from ai_api.registry.promotion import Promotions
from ai_api.registry.registry import Registry
from ai_api.serving.feedback import FeedbackRecorder
from ai_api.serving.model_loader import ModelLoader
from ai_api.serving.predictor import Origin, Predictor

from .idempotency import Idempotency


@dataclass
class Context:
    """The pieces that main.py wires, handed to every call. `max_rows`: most rows in one /predict. `stopping` is set
    when the service is asked to stop.
    """

    callers: Callers
    loader: ModelLoader
    predictor: Predictor
    feedback: FeedbackRecorder
    outbox: Outbox
    blobs: Blobs
    shipper: Shipper
    registry: Registry
    promotions: Promotions
    jobs: Jobs
    max_rows: int
    idempotency: Idempotency
    stopping: asyncio.Event


class ErrorBody(BaseModel):
    """Every error of every call."""

    error: str
    detail: str
    request_id: str


async def context(request: Request) -> Context:
    wired: Context = request.app.state.context
    return wired


Ctx = Annotated[Context, Depends(context)]

# only for the OpenAPI document: the check itself is Callers.identify
documented = [
    Depends(HTTPBearer(auto_error=False, description="A token of data-api's POST /auth/token")),
    Depends(APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key of data-api's POST /api-keys")),
]


def caller_with(scope: str) -> Callable[[Request, Context], Awaitable[Caller]]:
    """A dependency: the caller, who must have the scope. NotSignedIn or NotAllowed before the body is read."""

    async def identify(request: Request, ctx: Ctx) -> Caller:
        return ctx.callers.identify(request.headers).require(scope)

    return identify


READING = Depends(caller_with("read"))
TRAINING = Depends(caller_with("train"))
PREDICTING = Depends(caller_with("predict"))
"""For calls that check the caller but do not use it."""

Predicting = Annotated[Caller, Depends(caller_with("predict"))]
Reading = Annotated[Caller, Depends(caller_with("read"))]
Correcting = Annotated[Caller, Depends(caller_with("feedback"))]
Training = Annotated[Caller, Depends(caller_with("train"))]


def errors(*statuses: int) -> dict[int | str, dict[str, object]]:
    """The error responses of a call for its OpenAPI entry; any call may respond 401, 403 and 503."""
    return {status: {"model": ErrorBody} for status in (401, 403, 503, *statuses)}


def origin_of(request: Request, caller: Caller) -> Origin:
    """What is stored about the request with each of its predictions and feedback."""
    return Origin(caller.user_id, request.state.request_id)
