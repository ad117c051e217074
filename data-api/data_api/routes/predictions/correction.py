"""Corrections for training."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import StreamingResponse

from data_api.crud.predictions import correction
from data_api.crud.predictions.correction import Rule
from data_api.database import Database
from data_api.http.body.guarded_route import GuardedRoute
from data_api.http.caller import Trainer
from data_api.http.context import AppContext
from data_api.schemas.base import Name, QueryMoment
from data_api.schemas.predictions.correction import Correction

router = APIRouter(route_class=GuardedRoute, prefix="/tasks", tags=["corrections"])

MEDIA_TYPE = "application/x-ndjson"
LINES = {"content": {MEDIA_TYPE: {"schema": {"type": "string", "description": "One Correction per line."}}}}


@router.get("/{task}/corrections", response_class=StreamingResponse, responses={200: LINES})
def corrections(
    task: Annotated[Name, Path()],
    _: Trainer,
    context: AppContext,
    since: QueryMoment | None = None,
    rule: Annotated[
        Rule,
        Query(
            alias="word", description="Which of several corrections of a prediction counts; trainers' before users'."
        ),
    ] = "latest",
) -> StreamingResponse:
    """Streams one accepted correction per prediction, in the order of ids: trainers' before users', then the latest or
    the most frequent one.
    """
    lines = _lines(context.database, task, since, rule)
    first = next(lines, b"")  # so that an unavailable Postgres still gives 503
    return StreamingResponse(chain([first], lines), media_type=MEDIA_TYPE)


def _lines(database: Database, task: str, since: datetime | None, rule: Rule) -> Iterator[bytes]:
    with database.session() as session:
        for batch in correction.stream(session, task, since, rule):
            yield b"".join(Correction.model_validate(one).model_dump_json().encode() + b"\n" for one in batch)
