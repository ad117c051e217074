"""POST /feedback: the truth for a prediction. It is on disk before the caller has the response."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ai_api.http.body.guarded_route import GuardedRoute
from ai_api.http.context import BODY_STATUSES, Correcting, Ctx, documented, errors, origin_of
from ai_api.http.field_types import Id7, Number
from ai_api.http.idempotency import KeyedCall, KeyHeader
from ai_api.serving.feedback import Feedback, StoredFeedback
from ai_api.task import LabelName, Text

router = APIRouter(route_class=GuardedRoute, tags=["feedback"], dependencies=documented)


class FeedbackRequest(BaseModel):
    """The truth for one prediction: a label for a classification, a value for a regression. Confirmations count too."""

    model_config = ConfigDict(extra="forbid")

    prediction_id: Id7
    label: LabelName | None = Field(None, examples=["negative"])
    value: Number | None = None
    comment: Text | None = Field(None, max_length=2_000)

    @model_validator(mode="after")
    def has_one_truth(self) -> FeedbackRequest:
        if (self.label is None) == (self.value is None):
            raise ValueError("give either label or value")
        return self


class FeedbackTaken(BaseModel):
    """`checked`: whether the prediction was found and the truth checked against it. If not, data-api checks it once it
    has both.
    """

    feedback_id: str
    prediction_id: str
    checked: bool


@router.post("/feedback", status_code=202, response_model=FeedbackTaken, responses=errors(404, 409, *BODY_STATUSES))
async def give_feedback(
    body: FeedbackRequest, request: Request, ctx: Ctx, caller: Correcting, key: KeyHeader = None
) -> FeedbackTaken | Response:
    """Correct or confirm a prediction. It counts in the next training of its task."""
    feedback = Feedback(body.prediction_id, body.label, body.value, body.comment)
    record = partial(ctx.feedback.record, feedback, origin_of(request, caller), is_trainer=caller.is_trainer)
    if key is None:
        return respond(body, await record())
    call = KeyedCall(request, caller, key, [body.model_dump_json()])
    return await ctx.idempotency.run(call, lambda keep: record(keep=lambda stored: keep(respond(body, stored))), 202)


def respond(body: FeedbackRequest, stored: StoredFeedback) -> FeedbackTaken:
    """The stored feedback as the response shows it."""
    return FeedbackTaken(feedback_id=stored.id, prediction_id=str(body.prediction_id), checked=stored.checked)
