"""How long a task's rows are kept, over HTTP."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from data_api.schemas.base import Moment, Schema

Days = Annotated[int, Field(strict=True, ge=1, le=36_500)]


class RetentionIn(Schema):
    """Days; null keeps for ever. `examples_days` is for corrections: the examples and the feedback they came from."""

    predictions_days: Days | None
    examples_days: Days | None


class RetentionOut(RetentionIn):
    """What holds for a task."""

    task: str
    changed_at: Moment


class RetentionList(Schema):
    """The tasks whose rows are not kept for ever."""

    items: list[RetentionOut]
