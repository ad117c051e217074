"""POST /feedback: what the answer should have been, kept on disk before the caller hears so."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator
from uuid_utils.compat import uuid7

from ai_api.auth import Caller
from ai_api.errors import DataUnavailable, InvalidFeedback, NotAllowed, UnknownPrediction
from ai_api.metrics import FEEDBACK
from ai_api.task import Text

from .context import Context, Correcting, Ctx, documented, errors, request_id

routes = APIRouter(tags=["feedback"], dependencies=documented)


class FeedbackRequest(BaseModel):
    """The truth for one prediction: a label for a classification, a value for a regression. Agreement counts too."""

    model_config = ConfigDict(extra="forbid")

    prediction_id: uuid.UUID
    label: Text | None = Field(None, max_length=200, examples=["negative"])
    value: float | None = Field(None, allow_inf_nan=False)
    comment: Text | None = Field(None, max_length=2_000)

    @model_validator(mode="after")
    def one_truth(self) -> FeedbackRequest:
        if (self.label is None) == (self.value is None):
            raise ValueError("give either label or value")
        return self


class FeedbackTaken(BaseModel):
    """`checked`: the prediction was at hand to check the truth against. If it was not, data-api does when they meet."""

    feedback_id: str
    prediction_id: str
    checked: bool


@routes.post("/feedback", status_code=202, responses=errors(404, 413, 422))
async def give_feedback(body: FeedbackRequest, request: Request, ctx: Ctx, caller: Correcting) -> FeedbackTaken:
    """Correct or confirm an answer. It counts in the next training of its task."""
    prediction_id = str(body.prediction_id)
    prediction = await find(ctx, prediction_id)
    if prediction is not None:
        check(prediction, body, caller)
    feedback_id = str(uuid7())
    with ctx.eraser.answering(caller.user_id):
        await ctx.outbox.put("feedback", [event(feedback_id, body, caller, request_id(request))])
    FEEDBACK.labels("checked" if prediction is not None else "unchecked").inc()
    return FeedbackTaken(feedback_id=feedback_id, prediction_id=prediction_id, checked=prediction is not None)


def event(feedback_id: str, body: FeedbackRequest, caller: Caller, request: str) -> dict[str, object]:
    """What is kept of it, in the shape that data-api takes."""
    return {
        "id": feedback_id,
        **body.model_dump(mode="json"),
        "user_id": caller.user_id,
        "request_id": request,
    }


async def find(ctx: Context, id_: str) -> Mapping[str, object] | None:
    """The prediction, from our outbox or data-api; UnknownPrediction when there can be none.

    None when it may be where we cannot look: data-api is away, or it still waits in another replica's outbox.
    """
    if (waiting := await ctx.outbox.find(id_)) is not None:
        return waiting
    try:
        return await ctx.client.prediction(id_)
    except DataUnavailable:
        return None
    except UnknownPrediction:
        if uuid.UUID(id_).version == 7:  # the ids that we give; no other can ever turn up
            return None
        raise


def check(prediction: Mapping[str, object], body: FeedbackRequest, caller: Caller) -> None:
    """The rules that data-api holds feedback against, applied at once when the prediction is at hand."""
    if prediction.get("user_id") != caller.user_id and not caller.is_trainer:
        raise NotAllowed("Only who asked for a prediction, or a trainer, may correct it.")
    answer = prediction["answer"]
    labels = answer.get("probabilities") if isinstance(answer, Mapping) else None
    if isinstance(labels, Mapping):
        if body.label not in labels:
            raise InvalidFeedback(f"This prediction takes a label, one of: {', '.join(map(str, labels))}.")
    elif body.value is None or not math.isfinite(body.value):
        raise InvalidFeedback("This prediction takes a value, not a label.")
