"""Promotions over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from data_api.ids import time_of

from .base import Clean, Id7, Json, Moment, Name, Schema, Version


class PromotionIn(Schema):
    """A change of a champion."""

    id: Id7
    task: Name
    version: Version
    previous: Version | None
    action: Literal["promote", "rollback"]
    reason: Annotated[str, Field(max_length=10_000), Clean]
    metrics: Json = Field(default_factory=dict)
    actor: Name | None = None
    run_id: Name | None = None


def columns(promotion: PromotionIn) -> dict[str, object]:
    """The row of the table."""
    return {**promotion.model_dump(), "created_at": time_of(promotion.id)}


class PromotionOut(Schema):
    """A change of a champion, with the time that its id carries."""

    id: UUID
    created_at: Moment
    task: str
    version: int
    previous: int | None
    action: str
    reason: str
    metrics: dict[str, object]
    actor: str | None
    run_id: str | None
