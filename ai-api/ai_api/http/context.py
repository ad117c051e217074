"""What the routes share: the wired pieces, the check of the caller, and the errors in the OpenAPI document."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BaseModel

from ai_api.auth import Caller, Callers
from ai_api.images.blobs import Blobs
from ai_api.images.decoding import Decoder
from ai_api.jobs.queue import Jobs
from ai_api.outbox.outbox import Outbox
from ai_api.outbox.shipper import Shipper
from ai_api.privacy.eraser import Eraser
from ai_api.registry.promotion import Promotions
from ai_api.registry.registry import Registry
from ai_api.serving.feedback import FeedbackRecorder
from ai_api.serving.model_loader import ModelLoader
from ai_api.serving.predictor import Origin, Predictor

from .body.request_body import body_of
from .idempotency import Idempotency

BODY_STATUSES = (408, 413, 415, 422, 429)
"""What the body of a request can be refused with."""
CHECK_SECONDS = 1.0


@dataclass
class Context:
    """The pieces that main.py wires, handed to every call. `max_rows`: most rows in one /predict. `stopping` is set
    when the service is asked to stop.
    """

    callers: Callers
    loader: ModelLoader
    predictor: Predictor
    feedback: FeedbackRecorder
    eraser: Eraser
    outbox: Outbox
    blobs: Blobs
    shipper: Shipper
    registry: Registry
    promotions: Promotions
    jobs: Jobs
    decoder: Decoder
    max_rows: int
    idempotency: Idempotency


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


class ScopeCheck:
    """`admit` is the dependency of a call whose caller must have a scope. GuardedRoute calls it before the body is
    read.
    """

    def __init__(self, scope: str) -> None:
        self._scope = scope

    async def admit(self, request: Request) -> Caller:
        """The caller; NotSignedIn or NotAllowed. From here on the body may be read.

        A check stands for CHECK_SECONDS: after a body that took longer the caller is identified again.
        """
        now = time.monotonic()
        caller, checked = getattr(request.state, "caller", (None, 0.0))
        if caller is None or now - checked > CHECK_SECONDS:
            ctx = await context(request)
            caller = ctx.callers.identify(request.headers).require(self._scope)
            request.state.caller = caller, now
            body_of(request).admit(caller.user_id)
        found: Caller = caller
        return found.require(self._scope)


READING = Depends(ScopeCheck("read").admit)
TRAINING = Depends(ScopeCheck("train").admit)
PREDICTING = Depends(ScopeCheck("predict").admit)
"""For calls that check the caller but do not use it."""

Predicting = Annotated[Caller, PREDICTING]
Reading = Annotated[Caller, READING]
Correcting = Annotated[Caller, Depends(ScopeCheck("feedback").admit)]
Training = Annotated[Caller, TRAINING]


def errors(*statuses: int) -> dict[int | str, dict[str, object]]:
    """The error responses of a call for its OpenAPI entry; any call may respond 401, 403 and 503."""
    return {status: {"model": ErrorBody} for status in (401, 403, 503, *statuses)}


def origin_of(request: Request, caller: Caller) -> Origin:
    """What is stored about the request with each of its predictions and feedback."""
    return Origin(caller.user_id, request.state.request_id, caller.is_trainer)
