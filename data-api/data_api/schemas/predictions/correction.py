"""Corrections, sent as one JSON object per line."""

from __future__ import annotations

from uuid import UUID

from data_api.schemas.base import Moment, Schema


class Correction(Schema):
    """A row and its truth, for training."""

    id: UUID
    prediction_id: UUID
    row: dict[str, object]
    row_schema: int
    label: str | None
    value: float | None
    user_id: UUID
    user_role: str
    created_at: Moment
