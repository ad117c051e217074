"""Files of a person's own data."""

from __future__ import annotations

from uuid import UUID

from data_api.schemas.base import Moment, Schema


class OwnExample(Schema):
    """A row of the person, with its truth by feedback."""

    id: UUID
    created_at: Moment
    prediction_id: UUID
    task: str
    row: dict[str, object]
    row_schema: int
    label: str | None
    value: float | None
