"""Feedback over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field, model_validator

from data_api.ids import time_of
from data_api.models import FeedbackStatus

from .base import Clean, Id7, Moment, Name, Number, Schema


class FeedbackIn(Schema):
    """A correction or a confirmation. Whether owner and label are right shows when it meets its prediction."""

    id: Id7
    prediction_id: Id7
    label: Name | None = None
    value: Number | None = None
    comment: Annotated[str, Field(max_length=2_000), Clean] | None = None
    user_id: UUID
    request_id: Annotated[str, Field(max_length=64), Clean] | None = None

    @model_validator(mode="after")
    def one_truth(self) -> FeedbackIn:
        """Either a label or a value."""
        if (self.label is None) == (self.value is None):
            raise ValueError("must hold either label or value")
        return self


def columns(feedback: FeedbackIn) -> dict[str, object]:
    """The row of the table."""
    return {**feedback.model_dump(), "created_at": time_of(feedback.id)}


class FeedbackOut(Schema):
    """Feedback and what became of it."""

    id: UUID
    created_at: Moment
    prediction_id: UUID
    task: str | None
    label: str | None
    value: float | None
    comment: str | None
    user_id: UUID
    status: FeedbackStatus
    reason: str | None
