"""Promotions."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from data_api.crud import promotion
from data_api.schemas.base import Moment, Name, Page
from data_api.schemas.bulk import Results, Rows, example_of, judge, results
from data_api.schemas.promotion import PromotionIn, PromotionOut, columns

from .caller import Database, Reader, Service
from .export import CSV, List

router = APIRouter(prefix="/promotions", tags=["promotions"])


@router.post("", openapi_extra={"x-row": "PromotionIn"})
def store(body: Annotated[Rows, example_of("PromotionIn")], _: Service, database: Database) -> Results:
    """Keeps changes of champions, each judged alone."""
    return results("promotion", judge(PromotionIn, body.rows, columns, lambda rows: promotion.store(database, rows)))


@router.get("", response_model=Page[PromotionOut], responses=CSV)
def find(
    _: Reader,
    listed: List,
    task: Name | None = None,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    action: Literal["promote", "rollback"] | None = None,
    after: Moment | None = None,
    before: Moment | None = None,
) -> Page[PromotionOut] | StreamingResponse:
    """Lists changes of champions, newest first, with their reasons and metrics."""
    wanted = promotion.Filter(task, version, action, after, before)
    return listed.answer("promotions", PromotionOut, partial(promotion.find, wanted=wanted))
