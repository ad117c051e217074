"""Predictions over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, model_validator

from data_api.ids import time_of

from .base import Clean, Id7, Json, Moment, Name, Number, Schema, Version
from .feedback import FeedbackOut
from .promotion import PromotionOut

AnswerRole = Literal["champion", "pinned", "canary", "shadow", "replay"]
Milliseconds = Annotated[Number, Field(ge=0)]


class Answer(Schema):
    """A label with its score and every label's probability, or a value."""

    label: Name | None = None
    score: Number | None = None
    probabilities: dict[Name, Number] | None = None
    value: Number | None = None

    @model_validator(mode="after")
    def one_kind(self) -> Answer:
        """An answer is of a classification or of a regression, never both and never half of one."""
        given = (self.label is not None, self.score is not None, self.probabilities is not None, self.value is not None)
        if given not in ((True, True, True, False), (False, False, False, True)):
            raise ValueError("must hold label, score and probabilities, or value")
        return self


class Timing(Schema):
    """Where the time went."""

    queue_ms: Milliseconds | None = None
    compute_ms: Milliseconds | None = None


class PredictionIn(Schema):
    """An answer that ai-api gave."""

    id: Id7
    task: Name
    version: Version
    row: Json
    row_schema: Version
    answer: Answer
    user_id: UUID | None
    role: AnswerRole
    rollout: UUID | None = None
    request_id: Annotated[str, Field(max_length=64), Clean] | None = None
    timing: Timing = Timing()


def columns(prediction: PredictionIn) -> dict[str, object]:
    """The row of the table."""
    answer = prediction.answer
    kept: dict[str, object] = (
        {"value": answer.value}
        if answer.label is None
        else {"label": answer.label, "score": answer.score, "probabilities": answer.probabilities}
    )
    return {
        "id": prediction.id,
        "created_at": time_of(prediction.id),
        "task": prediction.task,
        "version": prediction.version,
        "row": prediction.row,
        "row_schema": prediction.row_schema,
        "answer": kept,
        "label": answer.label,
        "score": answer.score,
        "value": answer.value,
        "user_id": prediction.user_id,
        "role": prediction.role,
        "rollout": prediction.rollout,
        "request_id": prediction.request_id,
        "queue_ms": prediction.timing.queue_ms,
        "compute_ms": prediction.timing.compute_ms,
    }


class PredictionOut(Schema):
    """A prediction as it was given."""

    id: UUID
    created_at: Moment
    task: str
    version: int
    row: dict[str, object]
    row_schema: int
    answer: dict[str, object]
    user_id: UUID | None
    role: str
    rollout: UUID | None
    request_id: str | None
    queue_ms: float | None
    compute_ms: float | None


class PredictionWithFeedback(PredictionOut):
    """A prediction with everything said about it, oldest first, and how its version came to serve, with the run that
    trained it; null if the version was never promoted.
    """

    feedback: list[FeedbackOut]
    promotion: PromotionOut | None
