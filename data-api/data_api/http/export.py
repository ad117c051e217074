"""Lists as CSV: all of a list, page by page, so that neither memory nor a connection is held for a slow reader."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, Literal, Protocol, TypeVar
from uuid import UUID

from fastapi import Depends, Header, Query, Response
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session

from data_api.database import Database, commit_early
from data_api.schemas.base import Schema

from .context import AppContext
from .paging import At, Identified, Limit, Place, answer
from .session import ReadSession

KIND = "text/csv"
ROWS = 500
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""How a text begins that a spreadsheet would run, also in full width. Numbers are not texts and stay as they are."""
CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {KIND: {"schema": {"type": "string", "description": "The whole list, with a header line."}}}}
}

T = TypeVar("T", bound=Schema)


class Find(Protocol):
    """Reads a part of a list, newest first, and says whether there is more."""

    def __call__(self, session: Session, *, limit: int, below: UUID | None) -> tuple[Sequence[Identified], bool]: ...


async def asks_for_csv(
    format: Annotated[  # noqa: A002  the name in the address
        Literal["json", "csv"] | None,
        Query(description="`csv` answers the whole list from the cursor on, whatever the limit. Goes before `Accept`."),
    ] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> bool:
    """Whether a list is wanted as CSV: by `format`, else by which of the two kinds `Accept` names first."""
    if format:
        return format == "csv"
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return next((kind == KIND for kind in kinds if kind in (KIND, "application/json")), False)


@dataclass(frozen=True)
class Listed:
    """A list as its caller wants it: a page as JSON, or all of it as CSV."""

    session: Session
    pool: Database
    at: Place
    limit: int
    csv: bool

    def answer(self, name: str, schema: type[T], find: Find) -> Response:
        """The page, or the file `name`, whose columns are the fields of the schema."""
        if not self.csv:
            rows, more = find(self.session, limit=self.limit, below=self.at.below)
            commit_early(
                self.session
            )  # and the JSON is written here, too: after this thread it would be the event loop's
            page = answer(schema, rows, more, self.at)
            return Response(page.model_dump_json(), media_type="application/json")
        commit_early(self.session)  # gives its connection back: the pages take one at a time
        pages = _pages(self.pool, schema, find, self.at.below)
        first = next(pages, b"")  # so that Postgres being away is still answered with 503
        return attachment(name, chain([first], pages))


async def listed(
    context: AppContext, session: ReadSession, at: At, csv: Annotated[bool, Depends(asks_for_csv)], limit: Limit = 100
) -> Listed:
    """How the caller wants the list."""
    return Listed(session, context.replica or context.database, at, limit, csv)


List = Annotated[Listed, Depends(listed)]


def attachment(name: str, content: Iterable[bytes]) -> StreamingResponse:
    """A CSV file for a browser to keep."""
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.csv"',
        "Cache-Control": "no-store",
        "Vary": "Accept",
    }
    return StreamingResponse(content, media_type=f"{KIND}; charset=utf-8; header=present", headers=headers)


def lines(rows: Iterable[Iterable[object]]) -> bytes:
    """Rows as lines of CSV (RFC 4180)."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([harmless(value) for value in row] for row in rows)
    return text.getvalue().encode()


def harmless(value: object) -> object:
    """What a cell holds: a text that a spreadsheet would run as a formula is quoted, what is nested becomes JSON."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _pages(pool: Database, schema: type[Schema], find: Find, below: UUID | None) -> Iterator[bytes]:
    """Every page is a short transaction of its own."""
    header = lines([schema.model_fields])
    more = True
    while more:
        with pool.session() as session:
            rows, more = find(session, limit=ROWS, below=below)
        shown = [schema.model_validate(row).model_dump(mode="json").values() for row in rows]
        yield header + lines(shown)
        header = b""
        below = rows[-1].id if rows else None
