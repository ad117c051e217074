"""Predictions over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired
from uuid import UUID

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from data_api.ids import time_of
from data_api.schemas.base import Clean, Id7, Json, Moment, Name, Number, Schema, Version, row_kind
from data_api.schemas.bulk import RowParser
from data_api.schemas.promotions import PromotionOut

from .feedback import FeedbackOut

AnswerRole = Literal["champion", "pinned", "canary", "shadow", "replay"]
Milliseconds = Annotated[Number, Field(ge=0)]


@row_kind
class AnswerIn(TypedDict):
    """A label with its score and every label's probability, or a value."""

    label: NotRequired[Name | None]
    score: NotRequired[Number | None]
    probabilities: NotRequired[dict[Name, Number] | None]
    value: NotRequired[Number | None]


def _of_one_kind(answer: AnswerIn) -> AnswerIn:
    """An answer is of a classification or of a regression, never both and never half of one."""
    given = tuple(answer.get(name) is not None for name in ("label", "score", "probabilities", "value"))
    if given not in ((True, True, True, False), (False, False, False, True)):
        raise ValueError("must hold label, score and probabilities, or value")
    return answer


@row_kind
class TimingIn(TypedDict):
    """Where the time went."""

    queue_ms: NotRequired[Milliseconds | None]
    compute_ms: NotRequired[Milliseconds | None]


@row_kind
class PredictionIn(TypedDict):
    """An answer that ai-api gave."""

    id: Id7
    task: Name
    version: Version
    row: Json
    row_schema: Version
    answer: Annotated[AnswerIn, AfterValidator(_of_one_kind)]
    user_id: UUID | None
    role: AnswerRole
    rollout: NotRequired[UUID | None]
    request_id: NotRequired[Annotated[str, Field(max_length=64), Clean] | None]
    timing: NotRequired[TimingIn]


def columns(prediction: PredictionIn) -> dict[str, object]:
    """The row of the table."""
    answer, timing = prediction["answer"], prediction.get("timing") or {}
    return {
        "id": prediction["id"],
        "created_at": time_of(prediction["id"]),
        "task": prediction["task"],
        "version": prediction["version"],
        "row": prediction["row"],
        "row_schema": prediction["row_schema"],
        "answer": {name: value for name, value in answer.items() if value is not None},
        "label": answer.get("label"),
        "score": answer.get("score"),
        "value": answer.get("value"),
        "user_id": prediction["user_id"],
        "role": prediction["role"],
        "rollout": prediction.get("rollout"),
        "request_id": prediction.get("request_id"),
        "queue_ms": timing.get("queue_ms"),
        "compute_ms": timing.get("compute_ms"),
    }


PREDICTION = RowParser(PredictionIn, columns)


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
