"""What a person should label next."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from data_api.crud.predictions import labelling
from data_api.errors import NotAllowed
from data_api.http.caller import Labeller
from data_api.http.context import AppContext
from data_api.http.session import DbSession
from data_api.schemas.base import Name
from data_api.schemas.predictions.labelling import ToLabel, ToLabelList
from data_api.schemas.predictions.prediction import PredictionOut

router = APIRouter(prefix="/predictions", tags=["labelling"])


@router.get("/uncertain")
def uncertain(
    caller: Labeller,
    context: AppContext,
    session: DbSession,
    task: Name,
    by: Annotated[
        Literal["margin", "entropy", "disagreement"],
        Query(description="What unsure means. `disagreement`: only those on which people disagree."),
    ] = "margin",
    limit: Annotated[int, Query(ge=1, le=100, description="Most items in the answer.")] = 20,
) -> ToLabelList:
    """Hands the caller recent predictions of a task to label, theirs alone for some minutes: some that chance chose,
    then those on which people disagree, then those of which the model is least sure.
    """
    if caller.user_id is None:
        raise NotAllowed
    wish = labelling.Wish(task, caller.user_id, by, limit, context.label_share, context.label_lifetime)
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
            for offer in labelling.offer(session, wish)
        ]
    )
