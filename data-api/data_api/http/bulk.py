"""Bodies of up to 1,000 rows: stored, with one result per row in the response."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from pydantic_core import to_json

from data_api.crud.bulk import RowOutcome, Values
from data_api.errors import InvalidRequest
from data_api.metrics import ROWS
from data_api.schemas.bulk import Results, RowParser, Rows
from data_api.schemas.openapi_examples import EXAMPLES

from .body.json_reading import read_json
from .caller import Service

MAX_VALUES = 2_000_000
"""Most values in one body: ai-api sends a thousand rows in one call, and a row may have hundreds of columns."""


async def json_body(request: Request, _: Service) -> object:
    """The value of the body; only the service may send rows. The route validates it in its thread: a thousand rows
    would block the event loop for every other request.
    """
    size, value = await read_json(request, MAX_VALUES)
    if not size:
        raise InvalidRequest("body: Field required")
    return value


BulkBody = Annotated[object, Depends(json_body)]


def bulk_route(row: str) -> dict[str, Any]:
    """Arguments of the route's decorator: request and response of a call that takes rows of this schema."""
    example = {row: {"value": {"rows": [EXAMPLES[row]]}}}
    content = {"application/json": {"schema": Rows.model_json_schema(), "examples": example}}
    return {
        "response_model": Results,
        "openapi_extra": {"x-row": row, "requestBody": {"required": True, "content": content}},
    }


def store_rows(
    kind: str, parser: RowParser[Any], body: object, store: Callable[[Sequence[Values]], list[RowOutcome]]
) -> Response:
    """Stores the well-formed rows of a body; the response has one result per row, in the order sent."""
    return results(kind, store_each(parser, body, store))


def store_each(
    parser: RowParser[Any], body: object, store: Callable[[Sequence[Values]], list[RowOutcome]]
) -> list[RowOutcome]:
    """Stores the well-formed rows of a body and refuses the others; one outcome per row, in the order sent."""
    parsed = parser.parse(body)
    stored = iter(store([row for row in parsed if not isinstance(row, RowOutcome)]))
    return [row if isinstance(row, RowOutcome) else next(stored) for row in parsed]


def results(kind: str, outcomes: Sequence[RowOutcome]) -> Response:
    """The response, as Results describes it. Counts the outcomes in the metrics."""
    counts = Counter(outcomes)
    for outcome, rows in counts.items():
        ROWS.labels(kind, outcome.status).inc(rows)
    shown = {outcome: {"status": outcome.status, "reason": outcome.reason} for outcome in counts}
    return Response(to_json({"results": [shown[outcome] for outcome in outcomes]}), media_type="application/json")
