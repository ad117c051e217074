"""Promotions: changes of champions."""

from __future__ import annotations

from functools import partial
from typing import Literal

from fastapi import APIRouter, Response

from data_api.crud import promotions
from data_api.http.bulk import RawBody, bulk_route, store_rows
from data_api.http.caller import Reader
from data_api.http.export import CSV, Responder
from data_api.http.session import DbSession
from data_api.schemas.base import Moment, Name, Page, VersionText
from data_api.schemas.promotions import PROMOTION, PromotionOut

router = APIRouter(prefix="/promotions", tags=["promotions"])


@router.post("", **bulk_route("PromotionIn"))
def store(body: RawBody, session: DbSession) -> Response:
    """Stores changes of champions, each accepted or refused by itself."""
    return store_rows("promotion", PROMOTION, body, partial(promotions.store, session))


@router.get("", response_model=Page[PromotionOut], responses=CSV)
def find(
    _: Reader,
    responder: Responder,
    task: Name | None = None,
    version: VersionText | None = None,
    action: Literal["promote", "rollback"] | None = None,
    after: Moment | None = None,
    before: Moment | None = None,
) -> Response:
    """Lists changes of champions, newest first, with their reasons and metrics."""
    wanted = promotions.PromotionFilter(task, version, action, after, before)
    return responder.respond("promotions", PromotionOut, partial(promotions.find, wanted=wanted))
