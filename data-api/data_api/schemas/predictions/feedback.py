"""Bodies of feedback."""

from __future__ import annotations

from typing import Annotated, NotRequired
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from data_api.ids import time_of
from data_api.models.predictions.feedback import FeedbackStatus
from data_api.schemas.base import Id7, Moment, Name, NoNul, Number, RequestId, Schema, row_schema
from data_api.schemas.bulk import RowParser


@row_schema
class FeedbackIn(TypedDict):
    """A correction or a confirmation. Owner and label are checked when it is joined with its prediction."""

    id: Id7
    prediction_id: Id7
    label: NotRequired[Name | None]
    value: NotRequired[Number | None]
    comment: NotRequired[Annotated[str, Field(max_length=2_000), NoNul] | None]
    user_id: UUID
    request_id: NotRequired[RequestId | None]


def columns(feedback: FeedbackIn) -> dict[str, object]:
    """The values for the table of feedback; ValueError unless it holds either a label or a value."""
    if (feedback.get("label") is None) == (feedback.get("value") is None):
        raise ValueError("must hold either label or value")
    defaults = {"label": None, "value": None, "comment": None, "request_id": None}
    return {**defaults, **feedback, "created_at": time_of(feedback["id"])}


FEEDBACK = RowParser(FeedbackIn, columns)


class FeedbackOut(Schema):
    """Feedback and its status. `user_id` is null for users to whom it belongs to another person."""

    id: UUID
    created_at: Moment
    prediction_id: UUID
    task: str | None
    label: str | None
    value: float | None
    comment: str | None
    user_id: UUID | None
    status: FeedbackStatus
    reason: str | None
