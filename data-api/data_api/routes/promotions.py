"""Promotions: changes of champions."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Response

from data_api.crud import promotions
from data_api.http.body.guarded_route import GuardedRoute
from data_api.http.bulk import BulkBody, bulk_route, store_rows
from data_api.http.caller import Reader
from data_api.http.export import CSV, Responder
from data_api.http.session import DbSession
from data_api.schemas.base import Name, Page, QueryMoment, VersionText
from data_api.schemas.promotions import PROMOTION, ChampionChange, PromotionOut, PublicPromotionOut

router = APIRouter(route_class=GuardedRoute, prefix="/promotions", tags=["promotions"])


@router.post("", **bulk_route("PromotionIn"))
def store(body: BulkBody, session: DbSession) -> Response:
    """Stores changes of champions, each accepted or refused by itself."""
    return store_rows("promotion", PROMOTION, body, partial(promotions.store, session))


@router.get("", response_model=Page[PromotionOut], responses=CSV)
def find(
    caller: Reader,
    responder: Responder,
    task: Name | None = None,
    version: VersionText | None = None,
    action: ChampionChange | None = None,
    after: QueryMoment | None = None,
    before: QueryMoment | None = None,
) -> Response:
    """Lists changes of champions, newest first, with their reasons and metrics. Users do not see who made them."""
    wanted = promotions.PromotionFilter(task, version, action, after, before)
    shown = PromotionOut if caller.sees_all else PublicPromotionOut
    return responder.respond("promotions", shown, partial(promotions.find, wanted=wanted))
