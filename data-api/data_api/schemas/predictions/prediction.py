"""Bodies of predictions."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired
from uuid import UUID

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from data_api.ids import time_of
from data_api.schemas.base import Id7, Json, Moment, Name, Number, RequestId, Schema, Version, row_schema
from data_api.schemas.bulk import RowParser
from data_api.schemas.promotions import PromotionOut

from .feedback import FeedbackOut

AnswerRole = Literal["champion", "pinned", "canary", "shadow", "replay"]
Milliseconds = Annotated[Number, Field(ge=0)]


@row_schema
class AnswerIn(TypedDict):
    """A label with its score and every label's probability, or a value."""

    label: NotRequired[Name | None]
    score: NotRequired[Number | None]
    probabilities: NotRequired[dict[Name, Number] | None]
    value: NotRequired[Number | None]


def _of_one_kind(answer: AnswerIn) -> AnswerIn:
    """Requires the fields of a classification or those of a regression, all of one and none of the other."""
    present = tuple(answer.get(name) is not None for name in ("label", "score", "probabilities", "value"))
    if present not in ((True, True, True, False), (False, False, False, True)):
        raise ValueError("must hold label, score and probabilities, or value")
    return answer


@row_schema
class TimingIn(TypedDict):
    """Milliseconds in the queue and in the model."""

    queue_ms: NotRequired[Milliseconds | None]
    compute_ms: NotRequired[Milliseconds | None]


@row_schema
class PredictionIn(TypedDict):
    """A prediction that ai-api made."""

    id: Id7
    task: Name
    version: Version
    row: Json
    row_schema: Version
    answer: Annotated[AnswerIn, AfterValidator(_of_one_kind)]
    user_id: UUID | None
    role: AnswerRole
    rollout: NotRequired[UUID | None]
    request_id: NotRequired[RequestId | None]
    timing: NotRequired[TimingIn]
    run_id: NotRequired[Name | None]


def columns(prediction: PredictionIn) -> dict[str, object]:
    """The values for the table of predictions."""
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
        "run_id": prediction.get("run_id"),
    }


PREDICTION = RowParser(PredictionIn, columns)


class PredictionOut(Schema):
    """A prediction as it was stored."""

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
    run_id: str | None


class PredictionWithFeedback(PredictionOut):
    """A prediction with its feedback, oldest first, and the promotion of its version, which names the run that trained
    it; null if the version was never promoted.
    """

    feedback: list[FeedbackOut]
    promotion: PromotionOut | None
