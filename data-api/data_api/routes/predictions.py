"""Predictions."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from fastapi import APIRouter, Response

from data_api.crud import feedback, prediction, promotion
from data_api.errors import UnknownPrediction
from data_api.schemas.base import Page
from data_api.schemas.feedback import FeedbackOut
from data_api.schemas.prediction import PREDICTION, PredictionOut, PredictionWithFeedback
from data_api.schemas.promotion import PromotionOut

from .bulk import Unread, results, taking
from .caller import Database, Reader
from .export import CSV, List
from .filters import Wanted

router = APIRouter(prefix="/predictions", tags=["predictions"])


@router.post("", **taking("PredictionIn"))
def store(body: Unread, database: Database) -> Response:
    """Keeps answers, each judged alone. Sending a row again is harmless: it is answered `duplicate`."""
    return results("prediction", PREDICTION.judge(body, partial(prediction.store, database)))


@router.get("", response_model=Page[PredictionOut], responses=CSV)
def find(wanted: Wanted, listed: List) -> Response:
    """Lists predictions, newest first: the caller's own; everybody's for trainers and admins.

    `role`, `min_score`, `max_score`, `corrected`, and `version` or `label` without `task`, need a window of at most
    31 days.
    """
    return listed.answer("predictions", PredictionOut, partial(prediction.find, wanted=wanted))


@router.get("/{prediction_id}")
def get(prediction_id: UUID, caller: Reader, database: Database) -> PredictionWithFeedback:
    """One prediction with everything said about it, and how its version came to serve."""
    found = prediction.get(database, prediction_id)
    if found is None or (caller.owner and found.user_id != caller.owner):
        raise UnknownPrediction
    said = [FeedbackOut.model_validate(word) for word in feedback.about(database, prediction_id)]
    promoted = promotion.latest(database, found.task, found.version)
    return PredictionWithFeedback(
        **PredictionOut.model_validate(found).model_dump(),
        feedback=said,
        promotion=PromotionOut.model_validate(promoted) if promoted else None,
    )
