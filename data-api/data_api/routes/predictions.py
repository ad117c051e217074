"""Predictions."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from data_api.crud import feedback, prediction
from data_api.errors import UnknownPrediction
from data_api.metrics import ROWS
from data_api.schemas.base import Moment, Name, Page
from data_api.schemas.bulk import Result, Results, Rows, judge
from data_api.schemas.feedback import FeedbackOut
from data_api.schemas.prediction import PredictionIn, PredictionOut, PredictionWithFeedback, columns

from .caller import Database, Reader, Service
from .paging import Cursor, Limit, answer, below

router = APIRouter(prefix="/predictions", tags=["predictions"])


@router.post("", openapi_extra={"x-row": "PredictionIn"})
def store(body: Rows, _: Service, database: Database) -> Results:
    """Keeps answers, each judged alone. Sending a row again is harmless: it is answered `duplicate`."""
    outcomes = judge(PredictionIn, body.rows, columns, lambda rows: prediction.store(database, rows))
    for outcome in outcomes:
        ROWS.labels("prediction", outcome.status).inc()
    return Results(results=[Result.model_validate(outcome) for outcome in outcomes])


@router.get("")
def find(
    caller: Reader,
    database: Database,
    task: Name | None = None,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    label: Name | None = None,
    user_id: UUID | None = None,
    after: Moment | None = None,
    before: Moment | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[PredictionOut]:
    """Lists predictions, newest first: the caller's own; everybody's for trainers and admins."""
    wanted = prediction.Filter(caller.owner, user_id, task, version, label, after, before)
    return answer(PredictionOut, *prediction.find(database, wanted, limit, below(cursor)))


@router.get("/{prediction_id}")
def get(prediction_id: UUID, caller: Reader, database: Database) -> PredictionWithFeedback:
    """One prediction with everything said about it."""
    found = prediction.get(database, prediction_id)
    if found is None or (caller.owner and found.user_id != caller.owner):
        raise UnknownPrediction
    said = [FeedbackOut.model_validate(word) for word in feedback.about(database, prediction_id)]
    return PredictionWithFeedback(**PredictionOut.model_validate(found).model_dump(), feedback=said)
