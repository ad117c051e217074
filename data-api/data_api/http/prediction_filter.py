"""The query parameters that filter lists of predictions, and which of them need a time window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query
from pydantic import Field

from data_api.crud.predictions.prediction import PredictionFilter
from data_api.errors import InvalidRequest
from data_api.schemas.base import Name, NumberText, QueryMoment, RequestId, TruthText, VersionText
from data_api.schemas.predictions.prediction import AnswerRole

from .caller import Reader

LONGEST_WINDOW = timedelta(days=31)
NO_WINDOW = (
    "query: role, request_id, min_score, max_score and corrected, and version and label without a task, have no index."
    f" Give `after`, and `before` at most {LONGEST_WINDOW.days} days later (it is now if left out)."
)
Score = Annotated[float, Field(allow_inf_nan=False), NumberText]


async def predictions(
    caller: Reader,
    task: Name | None = None,
    version: VersionText | None = None,
    label: Name | None = None,
    user_id: UUID | None = None,
    role: AnswerRole | None = None,
    request_id: RequestId | None = None,
    min_score: Score | None = None,
    max_score: Score | None = None,
    corrected: Annotated[
        Annotated[bool, TruthText] | None, Query(description="Whether accepted feedback differs from the prediction.")
    ] = None,
    after: QueryMoment | None = None,
    before: QueryMoment | None = None,
) -> PredictionFilter:
    """The filter over the caller's own predictions; over those of every user for trainers and admins.

    InvalidRequest when it has no index and no window of at most 31 days: it would scan months.
    """
    scanning = any(value is not None for value in (role, request_id, min_score, max_score, corrected))
    scanning |= task is None and (version is not None or label is not None)
    if scanning and (after is None or (before or datetime.now(UTC)) - after > LONGEST_WINDOW):
        raise InvalidRequest(NO_WINDOW)
    return PredictionFilter(
        owner=caller.owner,
        user_id=user_id,
        task=task,
        version=version,
        label=label,
        role=role,
        request_id=request_id,
        min_score=min_score,
        max_score=max_score,
        corrected=corrected,
        after=after,
        before=before,
    )


RequestedFilter = Annotated[PredictionFilter, Depends(predictions)]
