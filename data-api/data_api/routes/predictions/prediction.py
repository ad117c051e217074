"""Predictions."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from fastapi import APIRouter, Response

from data_api.crud import promotions
from data_api.crud.predictions import feedback, prediction
from data_api.errors import UnknownPrediction
from data_api.http.body.guarded_route import GuardedRoute
from data_api.http.bulk import BulkBody, bulk_route, store_rows
from data_api.http.caller import Reader
from data_api.http.export import CSV, Responder
from data_api.http.prediction_filter import RequestedFilter
from data_api.http.session import DbSession
from data_api.schemas.base import Page
from data_api.schemas.predictions.feedback import FeedbackOut
from data_api.schemas.predictions.prediction import PREDICTION, PredictionOut, PredictionWithFeedback
from data_api.schemas.promotions import PromotionOut, PublicPromotionOut

router = APIRouter(route_class=GuardedRoute, prefix="/predictions", tags=["predictions"])


@router.post("", **bulk_route("PredictionIn"))
def store(body: BulkBody, session: DbSession) -> Response:
    """Stores predictions, each row accepted or refused by itself. A row that is sent again has the status
    `duplicate`.
    """
    return store_rows("prediction", PREDICTION, body, partial(prediction.store, session))


@router.get("", response_model=Page[PredictionOut], responses=CSV)
def find(wanted: RequestedFilter, responder: Responder) -> Response:
    """Lists predictions, newest first: the caller's own; everybody's for trainers and admins.

    `role`, `request_id`, `min_score`, `max_score`, `corrected`, and `version` or `label` without `task`, need a window
    of at most 31 days.
    """
    return responder.respond("predictions", PredictionOut, partial(prediction.find, wanted=wanted))


@router.get("/{prediction_id}")
def get(prediction_id: UUID, caller: Reader, session: DbSession) -> PredictionWithFeedback:
    """One prediction with its feedback, and the promotion of its version."""
    found = prediction.get(session, prediction_id)
    if found is None or (caller.owner and found.user_id != caller.owner):
        raise UnknownPrediction
    about = [FeedbackOut.model_validate(row) for row in feedback.about(session, prediction_id)]
    for one in about:
        if caller.owner and one.user_id != caller.owner:
            one.user_id = None
    shown = PromotionOut if caller.sees_all else PublicPromotionOut
    promoted = promotions.latest(session, found.task, found.version, found.run_id)
    return PredictionWithFeedback(
        **PredictionOut.model_validate(found).model_dump(),
        feedback=about,
        promotion=shown.model_validate(promoted) if promoted else None,
    )
