"""Export of a person's own data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Protocol
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session

from data_api.crud.privacy import own_data
from data_api.database import Database
from data_api.http.body.guarded_route import GuardedRoute
from data_api.http.caller import PersonReading
from data_api.http.context import AppContext
from data_api.http.paging import Identified
from data_api.http.zip_stream import zip_stream
from data_api.schemas.audit import AuditOut
from data_api.schemas.base import Schema
from data_api.schemas.people.api_key import KeyOut
from data_api.schemas.people.user import UserOut
from data_api.schemas.predictions.feedback import FeedbackOut
from data_api.schemas.predictions.prediction import PredictionOut
from data_api.schemas.privacy.own_data import OwnExample

router = APIRouter(route_class=GuardedRoute, tags=["users"])

MEDIA_TYPE = "application/zip"
PAGE_ROWS = 500
ZIP = {
    "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary", "description": "NDJSON files in a zip."}}}
}


class PersonQuery(Protocol):
    """Reads one page of a person's rows, newest first, and whether there are more."""

    def __call__(
        self, session: Session, user_id: UUID, limit: int, below: UUID | None
    ) -> tuple[Sequence[Identified], bool]: ...


FILES: Mapping[str, tuple[type[Schema], PersonQuery]] = {
    "profile": (UserOut, own_data.profile),
    "api_keys": (KeyOut, own_data.api_keys),
    "predictions": (PredictionOut, own_data.predictions),
    "feedback": (FeedbackOut, own_data.feedback),
    "examples": (OwnExample, own_data.examples),
    "history": (AuditOut, own_data.history),
}


@router.get("/users/me/data", response_class=StreamingResponse, responses={200: ZIP})
def own(caller: PersonReading, context: AppContext) -> StreamingResponse:
    """All data of the caller: a zip with one file of JSON lines for each kind of data, newest first.

    Rows refer to images by `sha256:` and a hash, under which ai-api's `GET /pictures/{name}` returns them. Keys and
    passwords are not included.
    """
    user_id = caller.self_id
    parts = zip_stream(
        (f"{name}.ndjson", _lines(context.database, schema, find, user_id)) for name, (schema, find) in FILES.items()
    )
    first = next(parts)  # so that an unavailable Postgres still gives 503
    headers = {"Content-Disposition": 'attachment; filename="volant-data.zip"'}
    return StreamingResponse(chain([first], parts), media_type=MEDIA_TYPE, headers=headers)


def _lines(database: Database, schema: type[Schema], find: PersonQuery, user_id: UUID) -> Iterator[bytes]:
    """The JSON lines of one file. Each page is read in a short transaction, so that a slow reader holds no
    connection.
    """
    below: UUID | None = None
    more = True
    while more:
        with database.session() as session:
            rows, more = find(session, user_id, PAGE_ROWS, below)
        yield b"".join(schema.model_validate(row).model_dump_json().encode() + b"\n" for row in rows)
        below = rows[-1].id if rows else None
