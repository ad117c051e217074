"""Bodies of promotions."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired
from uuid import UUID

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from data_api.ids import time_of

from .base import Id7, Json, Moment, Name, NoNul, Schema, Version, row_schema
from .bulk import RowParser

ChampionChange = Literal["promote", "rollback", "remove"]
"""What happened: a version became champion, came back, or was removed in MLflow without another in its place."""


@row_schema
class PromotionIn(TypedDict):
    """A change of a champion. With the action `remove`, `version` is the one that is champion no more."""

    id: Id7
    task: Name
    version: Version
    previous: Version | None
    action: ChampionChange
    reason: Annotated[str, Field(max_length=10_000), NoNul]
    metrics: NotRequired[Json]
    actor: NotRequired[Name | None]
    run_id: NotRequired[Name | None]


def columns(promotion: PromotionIn) -> dict[str, object]:
    """The values for the table of promotions."""
    defaults: dict[str, object] = {"metrics": {}, "actor": None, "run_id": None}
    return {**defaults, **promotion, "created_at": time_of(promotion["id"])}


PROMOTION = RowParser(PromotionIn, columns)


def _without_people(actor: str | None) -> str | None:
    try:
        UUID(actor or "")
    except ValueError:
        return actor
    return None


class PromotionOut(Schema):
    """A change of a champion, with the time in its id."""

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


class PublicPromotionOut(PromotionOut):
    """The same without the ids of people, for users."""

    actor: Annotated[str | None, AfterValidator(_without_people)]
