"""What a person gets of their own."""

from __future__ import annotations

from uuid import UUID

from data_api.schemas.base import Moment, Schema


class OwnExample(Schema):
    """A row of theirs and what somebody said is true of it."""

    id: UUID
    created_at: Moment
    prediction_id: UUID
    task: str
    row: dict[str, object]
    row_schema: int
    label: str | None
    value: float | None
