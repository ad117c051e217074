"""Predictions to label next."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from data_api.crud.predictions import labelling
from data_api.errors import NotAllowed
from data_api.http.body.guarded_route import GuardedRoute
from data_api.http.caller import Labeller
from data_api.http.context import AppContext
from data_api.http.session import DbSession
from data_api.schemas.base import Name, Whole
from data_api.schemas.predictions.labelling import ToLabel, ToLabelList
from data_api.schemas.predictions.prediction import PredictionOut

router = APIRouter(route_class=GuardedRoute, prefix="/predictions", tags=["labelling"])


@router.get("/uncertain")
def uncertain(
    caller: Labeller,
    context: AppContext,
    session: DbSession,
    task: Name,
    by: Annotated[
        Literal["margin", "entropy", "disagreement"],
        Query(description="Measure of uncertainty. `disagreement`: only those on which people disagree."),
    ] = "margin",
    limit: Annotated[int, Query(ge=1, le=100, description="Most items in the response."), Whole] = 20,
) -> ToLabelList:
    """Assigns recent predictions of a task to the caller for labelling, for some minutes: some of the random share,
    then those on which people disagree, then the most uncertain.
    """
    if caller.user_id is None:
        raise NotAllowed
    request = labelling.LabelRequest(task, caller.user_id, by, limit, context.label_share, context.label_lifetime)
    return ToLabelList(
        items=[
            ToLabel(
                **PredictionOut.model_validate(offer.prediction).model_dump(),
                reason=offer.reason,
                assigned_until=offer.assigned_until,
                margin=offer.margin,
                entropy=offer.entropy,
                disagreement=offer.disagreement,
                probability=offer.probability,
            )
            for offer in labelling.offer(session, request)
        ]
    )
