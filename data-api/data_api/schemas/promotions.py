"""Promotions over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from data_api.ids import time_of

from .base import Clean, Id7, Json, Moment, Name, Schema, Version, row_kind
from .bulk import RowParser


@row_kind
class PromotionIn(TypedDict):
    """A change of a champion."""

    id: Id7
    task: Name
    version: Version
    previous: Version | None
    action: Literal["promote", "rollback"]
    reason: Annotated[str, Field(max_length=10_000), Clean]
    metrics: NotRequired[Json]
    actor: NotRequired[Name | None]
    run_id: NotRequired[Name | None]


def columns(promotion: PromotionIn) -> dict[str, object]:
    """The row of the table."""
    left_out: dict[str, object] = {"metrics": {}, "actor": None, "run_id": None}
    return {**left_out, **promotion, "created_at": time_of(promotion["id"])}


PROMOTION = RowParser(PromotionIn, columns)


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
