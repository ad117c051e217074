"""Feedback."""

from __future__ import annotations

from fastapi import APIRouter

from data_api.crud import feedback
from data_api.metrics import ROWS
from data_api.models import FeedbackStatus
from data_api.schemas.base import Name, Page
from data_api.schemas.bulk import Result, Results, Rows, judge
from data_api.schemas.feedback import FeedbackIn, FeedbackOut, columns

from .caller import Database, Reader, Service
from .paging import Cursor, Limit, answer, below

router = APIRouter(prefix="/feedback", tags=["feedback"])


@router.post("", openapi_extra={"x-row": "FeedbackIn"})
def store(body: Rows, _: Service, database: Database) -> Results:
    """Keeps feedback, each judged alone. `stored` says that it is here; GET /feedback says whether it counts."""
    outcomes = judge(FeedbackIn, body.rows, columns, lambda rows: feedback.store(database, rows))
    for outcome in outcomes:
        ROWS.labels("feedback", outcome.status).inc()
    return Results(results=[Result.model_validate(outcome) for outcome in outcomes])


@router.get("")
def find(
    caller: Reader,
    database: Database,
    task: Name | None = None,
    status: FeedbackStatus | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[FeedbackOut]:
    """Lists feedback, newest first: the caller's own; everybody's for trainers and admins."""
    return answer(FeedbackOut, *feedback.find(database, caller.owner, task, status, limit, below(cursor)))
