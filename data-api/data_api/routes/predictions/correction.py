"""What a training needs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import StreamingResponse

from data_api.crud.predictions import correction
from data_api.database import Database
from data_api.http.caller import Trainer
from data_api.http.context import AppContext
from data_api.schemas.base import Moment, Name
from data_api.schemas.predictions.correction import Correction

router = APIRouter(prefix="/tasks", tags=["corrections"])

Word = Literal["latest", "majority"]
KIND = "application/x-ndjson"
LINES = {"content": {KIND: {"schema": {"type": "string", "description": "One Correction a line."}}}}


@router.get("/{task}/corrections", response_class=StreamingResponse, responses={200: LINES})
def corrections(
    task: Annotated[Name, Path()],
    _: Trainer,
    context: AppContext,
    since: Moment | None = None,
    word: Annotated[Word, Query(description="Which of several words on a prediction, trainers' before users'.")] = (
        "latest"
    ),
) -> StreamingResponse:
    """Streams the accepted word on each prediction, in the order of ids: a trainer's over a user's, then the latest, or
    what most of them say.
    """
    lines = _lines(context.database, task, since, word)
    first = next(lines, b"")  # so that Postgres being away is still answered with 503
    return StreamingResponse(chain([first], lines), media_type=KIND)


def _lines(database: Database, task: str, since: datetime | None, word: Word) -> Iterator[bytes]:
    with database.session() as session:
        for some in correction.stream(session, task, since, word):
            yield b"".join(Correction.model_validate(one).model_dump_json().encode() + b"\n" for one in some)
