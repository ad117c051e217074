"""What the lists of predictions can be narrowed by, and which filters need a window in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query

from data_api.crud.predictions.prediction import Filter
from data_api.errors import InvalidRequest
from data_api.schemas.base import Moment, Name
from data_api.schemas.predictions.prediction import AnswerRole

from .caller import Reader

LONGEST_WINDOW = timedelta(days=31)
NO_WINDOW = (
    "query: role, min_score, max_score and corrected, and version and label without a task, have no index."
    f" Give `after`, and `before` at most {LONGEST_WINDOW.days} days later (it is now if left out)."
)
Score = Annotated[float | None, Query(allow_inf_nan=False)]


async def predictions(
    caller: Reader,
    task: Name | None = None,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    label: Name | None = None,
    user_id: UUID | None = None,
    role: AnswerRole | None = None,
    min_score: Score = None,
    max_score: Score = None,
    corrected: Annotated[
        bool | None, Query(description="Whether feedback that counts says something else than the answer.")
    ] = None,
    after: Moment | None = None,
    before: Moment | None = None,
) -> Filter:
    """The filter, of the caller's own predictions; of everybody's for trainers and admins.

    InvalidRequest when it would read its way through months.
    """
    scanning = any(asked is not None for asked in (role, min_score, max_score, corrected))
    scanning |= task is None and (version is not None or label is not None)
    if scanning and (after is None or (before or datetime.now(UTC)) - after > LONGEST_WINDOW):
        raise InvalidRequest(NO_WINDOW)
    return Filter(
        caller.owner, user_id, task, version, label, role, min_score, max_score, corrected, after=after, before=before
    )


Wanted = Annotated[Filter, Depends(predictions)]
