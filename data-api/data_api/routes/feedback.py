"""Feedback."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from fastapi import APIRouter, Response

from data_api.crud import feedback
from data_api.models import FeedbackStatus
from data_api.schemas.base import Moment, Name, Page
from data_api.schemas.feedback import FEEDBACK, FeedbackOut

from .bulk import Unread, results, taking
from .caller import Database, Reader
from .export import CSV, List

router = APIRouter(prefix="/feedback", tags=["feedback"])


@router.post("", **taking("FeedbackIn"))
def store(body: Unread, database: Database) -> Response:
    """Keeps feedback, each judged alone. `stored` says that it is here; GET /feedback says whether it counts."""
    return results("feedback", FEEDBACK.judge(body, partial(feedback.store, database)))


@router.get("", response_model=Page[FeedbackOut], responses=CSV)
def find(
    caller: Reader,
    listed: List,
    task: Name | None = None,
    status: FeedbackStatus | None = None,
    user_id: UUID | None = None,
    after: Moment | None = None,
    before: Moment | None = None,
) -> Response:
    """Lists feedback, newest first: the caller's own; everybody's for trainers and admins."""
    wanted = feedback.Filter(caller.owner, user_id, task, status, after, before)
    return listed.answer("feedback", FeedbackOut, partial(feedback.find, wanted=wanted))
