"""Feedback."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from fastapi import APIRouter, Response

from data_api.crud.predictions import feedback
from data_api.http.body.guarded_route import GuardedRoute
from data_api.http.bulk import BulkBody, bulk_route, store_rows
from data_api.http.caller import Reader
from data_api.http.export import CSV, Responder
from data_api.http.session import DbSession
from data_api.models.predictions.feedback import FeedbackStatus
from data_api.schemas.base import Name, Page, QueryMoment, RequestId
from data_api.schemas.predictions.feedback import FEEDBACK, FeedbackOut

router = APIRouter(route_class=GuardedRoute, prefix="/feedback", tags=["feedback"])


@router.post("", **bulk_route("FeedbackIn"))
def store(body: BulkBody, session: DbSession) -> Response:
    """Stores feedback, each row accepted or refused by itself. GET /feedback shows whether stored feedback is
    accepted.
    """
    return store_rows("feedback", FEEDBACK, body, partial(feedback.store, session))


@router.get("", response_model=Page[FeedbackOut], responses=CSV)
def find(
    caller: Reader,
    responder: Responder,
    task: Name | None = None,
    status: FeedbackStatus | None = None,
    user_id: UUID | None = None,
    request_id: RequestId | None = None,
    after: QueryMoment | None = None,
    before: QueryMoment | None = None,
) -> Response:
    """Lists feedback, newest first: the caller's own; everybody's for trainers and admins."""
    wanted = feedback.FeedbackFilter(caller.owner, user_id, task, status, request_id, after, before)
    return responder.respond("feedback", FeedbackOut, partial(feedback.find, wanted=wanted))
