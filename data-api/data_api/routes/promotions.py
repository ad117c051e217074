"""Promotions."""

from __future__ import annotations

from fastapi import APIRouter

from data_api.crud import promotion
from data_api.metrics import ROWS
from data_api.schemas.base import Name, Page
from data_api.schemas.bulk import Result, Results, Rows, judge
from data_api.schemas.promotion import PromotionIn, PromotionOut, columns

from .caller import Database, Reader, Service
from .paging import Cursor, Limit, answer, below

router = APIRouter(prefix="/promotions", tags=["promotions"])


@router.post("", openapi_extra={"x-row": "PromotionIn"})
def store(body: Rows, _: Service, database: Database) -> Results:
    """Keeps changes of champions, each judged alone."""
    outcomes = judge(PromotionIn, body.rows, columns, lambda rows: promotion.store(database, rows))
    for outcome in outcomes:
        ROWS.labels("promotion", outcome.status).inc()
    return Results(results=[Result.model_validate(outcome) for outcome in outcomes])


@router.get("")
def find(
    _: Reader, database: Database, task: Name | None = None, limit: Limit = 100, cursor: Cursor = None
) -> Page[PromotionOut]:
    """Lists changes of champions, newest first."""
    return answer(PromotionOut, *promotion.find(database, task, limit, below(cursor)))
