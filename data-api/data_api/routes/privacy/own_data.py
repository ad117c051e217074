"""A person's own data, to take along."""

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
from data_api.http.caller import PersonReading
from data_api.http.context import AppContext
from data_api.http.paging import Identified
from data_api.http.zip_stream import archive
from data_api.schemas.audit import AuditOut
from data_api.schemas.base import Schema
from data_api.schemas.people.api_key import KeyOut
from data_api.schemas.people.user import UserOut
from data_api.schemas.predictions.feedback import FeedbackOut
from data_api.schemas.predictions.prediction import PredictionOut
from data_api.schemas.privacy.own_data import OwnExample

router = APIRouter(tags=["users"])

KIND = "application/zip"
ROWS = 500
ZIP = {"content": {KIND: {"schema": {"type": "string", "format": "binary", "description": "NDJSON files in a zip."}}}}


class Find(Protocol):
    """Reads some of a person's things, newest first, and says whether there are more."""

    def __call__(
        self, session: Session, user_id: UUID, limit: int, below: UUID | None
    ) -> tuple[Sequence[Identified], bool]: ...


FILES: Mapping[str, tuple[type[Schema], Find]] = {
    "profile": (UserOut, own_data.profile),
    "api_keys": (KeyOut, own_data.api_keys),
    "predictions": (PredictionOut, own_data.predictions),
    "feedback": (FeedbackOut, own_data.feedback),
    "examples": (OwnExample, own_data.examples),
    "history": (AuditOut, own_data.history),
}


@router.get("/users/me/data", response_class=StreamingResponse, responses={200: ZIP})
def own(caller: PersonReading, context: AppContext) -> StreamingResponse:
    """Everything that is kept of the caller: a zip with a file of JSON lines for each kind of thing, newest first.

    Rows refer to pictures by `sha256:` and a hash, by which ai-api's `GET /pictures/{name}` gives them. Keys and
    passwords are not in it.
    """
    user_id = caller.self_id
    parts = archive(
        (f"{name}.ndjson", _lines(context.database, schema, find, user_id)) for name, (schema, find) in FILES.items()
    )
    first = next(parts)  # so that Postgres being away is still answered with 503
    headers = {"Content-Disposition": 'attachment; filename="volant-data.zip"', "Cache-Control": "no-store"}
    return StreamingResponse(chain([first], parts), media_type=KIND, headers=headers)


def _lines(database: Database, schema: type[Schema], find: Find, user_id: UUID) -> Iterator[bytes]:
    """Every page is a short transaction of its own, so that a slow reader holds no connection."""
    below: UUID | None = None
    more = True
    while more:
        with database.session() as session:
            rows, more = find(session, user_id, ROWS, below)
        yield b"".join(schema.model_validate(row).model_dump_json().encode() + b"\n" for row in rows)
        below = rows[-1].id if rows else None
