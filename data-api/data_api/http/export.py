"""Lists as one JSON page or as CSV. CSV holds the whole list and is streamed page by page, so that a slow reader holds
neither memory nor a connection.
"""

from __future__ import annotations

import csv
import io
import json
import re
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
from .paging import Identified, Limit, PagePosition, Position, page_of
from .session import ReadSession

MEDIA_TYPE = "text/csv"
PAGE_ROWS = 500
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Before the header: Excel reads a file without it in the code page of its system."""
FORMULA = r"(?='*[=+\-@＝＋－＠])"
"""Before a character with which a formula starts, also in full width."""
FORMULA_IN_TEXT = re.compile(rf"""^(?='*[\t\r\n])|(^|[,;|\t\r\n])([ "\xa0]*){FORMULA}""")
"""At the start of a text, and after every character that a spreadsheet may take for the end of a cell: which one it
takes depends on its language, and a cell that is quoted for commas is not quoted for semicolons.
"""
FORMULA_IN_JSON = re.compile(rf"""([;|])([ "\xa0]*){FORMULA}""")
"""JSON starts with a bracket, escapes tabs and line ends, and has commas of its own."""
CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {MEDIA_TYPE: {"schema": {"type": "string", "description": "The whole list, with a header line."}}}}
}

T = TypeVar("T", bound=Schema)


class ListQuery(Protocol):
    """Reads one page of a list, newest first, and whether there are more rows."""

    def __call__(self, session: Session, *, limit: int, below: UUID | None) -> tuple[Sequence[Identified], bool]: ...


async def wants_csv(
    format: Annotated[  # noqa: A002  the name of the query parameter
        Literal["json", "csv"] | None,
        Query(
            description="`csv` returns the whole list from the cursor on, whatever the limit. It overrides `Accept`."
        ),
    ] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> bool:
    """Whether the caller wants CSV: by `format`, else by which of the two media types `Accept` names first."""
    if format:
        return format == "csv"
    media_types = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return next((one == MEDIA_TYPE for one in media_types if one in (MEDIA_TYPE, "application/json")), False)


@dataclass(frozen=True)
class ListResponder:
    """Responds with a list in the form that the caller wants: one page as JSON, or all of it as CSV."""

    session: Session
    pool: Database
    position: PagePosition
    limit: int
    csv: bool

    def respond(self, name: str, schema: type[T], find: ListQuery) -> Response:
        """The JSON page, or the CSV file `name` with a column for each field of the schema."""
        if not self.csv:
            rows, more = find(self.session, limit=self.limit, below=self.position.below)
            commit_early(self.session)  # and the JSON is made here: after this thread it would block the event loop
            page = page_of(schema, rows, more, self.position)
            return Response(page.model_dump_json(), media_type="application/json")
        commit_early(self.session)  # gives its connection back: each page takes one of its own
        pages = _pages(self.pool, schema, find, self.position.below)
        first = next(pages, b"")  # so that an unavailable Postgres still gives 503
        return csv_response(name, chain([first], pages))


async def list_responder(
    context: AppContext,
    session: ReadSession,
    position: Position,
    csv: Annotated[bool, Depends(wants_csv)],
    limit: Limit = 100,
) -> ListResponder:
    """The responder for the form that the caller wants."""
    return ListResponder(session, context.replica or context.database, position, limit, csv)


Responder = Annotated[ListResponder, Depends(list_responder)]


def csv_response(name: str, content: Iterable[bytes]) -> StreamingResponse:
    """A response that a browser saves as a CSV file, with a byte order mark."""
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.csv"',
        "Vary": "Accept",
    }
    return StreamingResponse(
        chain([BYTE_ORDER_MARK], content), media_type=f"{MEDIA_TYPE}; charset=utf-8; header=present", headers=headers
    )


def csv_lines(rows: Iterable[Iterable[object]]) -> bytes:
    """Rows as lines of CSV (RFC 4180)."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([safe_cell(value) for value in row] for row in rows)
    return text.getvalue().encode()


def safe_cell(value: object) -> object:
    """The content of a cell. In text, an apostrophe is put before all that a spreadsheet would run as a formula, and
    before apostrophes that stand there already, so that taking one away restores the text. Dicts and lists become JSON;
    numbers are left as they are.
    """
    if isinstance(value, dict | list):
        return FORMULA_IN_JSON.sub(_with_apostrophe, json.dumps(value, ensure_ascii=False))
    if isinstance(value, bool):
        return str(value).lower()
    return FORMULA_IN_TEXT.sub(_with_apostrophe, value) if isinstance(value, str) else value


def _with_apostrophe(before: re.Match[str]) -> str:
    return f"{before[0]}'"


def _pages(pool: Database, schema: type[Schema], find: ListQuery, below: UUID | None) -> Iterator[bytes]:
    """The CSV of each page, read in a short transaction of its own."""
    header = csv_lines([schema.model_fields])
    more = True
    while more:
        with pool.session() as session:
            rows, more = find(session, limit=PAGE_ROWS, below=below)
        shown = [schema.model_validate(row).model_dump(mode="json").values() for row in rows]
        yield header + csv_lines(shown)
        header = b""
        below = rows[-1].id if rows else None
