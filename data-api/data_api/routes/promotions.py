"""Promotions."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from data_api.crud import promotion
from data_api.schemas.base import Moment, Name, Page
from data_api.schemas.promotion import PROMOTION, PromotionOut

from .bulk import Unread, results, taking
from .caller import Database, Reader
from .export import CSV, List

router = APIRouter(prefix="/promotions", tags=["promotions"])


@router.post("", **taking("PromotionIn"))
def store(body: Unread, database: Database) -> Response:
    """Keeps changes of champions, each judged alone."""
    return results("promotion", PROMOTION.judge(body, partial(promotion.store, database)))


@router.get("", response_model=Page[PromotionOut], responses=CSV)
def find(
    _: Reader,
    listed: List,
    task: Name | None = None,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    action: Literal["promote", "rollback"] | None = None,
    after: Moment | None = None,
    before: Moment | None = None,
) -> Response:
    """Lists changes of champions, newest first, with their reasons and metrics."""
    wanted = promotion.Filter(task, version, action, after, before)
    return listed.answer("promotions", PromotionOut, partial(promotion.find, wanted=wanted))
