"""Accuracy of the predictions whose truth is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from data_api.accuracy import summary
from data_api.crud.predictions import accuracy
from data_api.errors import InvalidRequest
from data_api.http.body.guarded_route import GuardedRoute
from data_api.http.caller import Trainer
from data_api.http.session import ReadSession
from data_api.schemas.base import Name, QueryMoment, VersionText
from data_api.schemas.predictions.accuracy import Accuracy

router = APIRouter(route_class=GuardedRoute, prefix="/accuracy", tags=["accuracy"])

DEFAULT_WINDOW, LONGEST_WINDOW = timedelta(days=30), timedelta(days=366)


@router.get("")
def find(
    _: Trainer,
    session: ReadSession,
    task: Name,
    version: VersionText | None = None,
    label: Annotated[Name | None, Query(description="Only rows with this true label.")] = None,
    after: QueryMoment | None = None,
    before: QueryMoment | None = None,
) -> Accuracy:
    """Accuracy of a task by version, class and UTC day, its confusion matrix and calibration, for the predictions of a
    window (the last 30 days if left out, 366 at most); each over all feedback and over the random share.
    """
    before = before or datetime.now(UTC)
    try:
        after = after or before - DEFAULT_WINDOW
    except OverflowError:
        raise InvalidRequest("query.before: is too early") from None
    if before - after > LONGEST_WINDOW:
        raise InvalidRequest(f"query: the window must be of {LONGEST_WINDOW.days} days at most.")
    groups = list(accuracy.groups(session, task, after, before, version, label))
    return summary(task, after, before, groups)
