"""Bodies of retention."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from data_api.schemas.base import Moment, Schema

Days = Annotated[int, Field(strict=True, ge=1, le=36_500)]


class RetentionIn(Schema):
    """Days after which rows are deleted; null: never. `examples_days` is for examples and the feedback they
    came from.
    """

    predictions_days: Days | None
    examples_days: Days | None


class RetentionOut(RetentionIn):
    """The retention of a task."""

    task: str
    changed_at: Moment


class RetentionList(Schema):
    """The tasks that have a retention."""

    items: list[RetentionOut]
