"""Calls that take a thousand rows at once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from email.message import Message
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from pydantic_core import to_json

from data_api.crud.bulk import Outcome
from data_api.errors import InvalidRequest
from data_api.metrics import ROWS
from data_api.schemas.bulk import Results, Rows
from data_api.schemas.examples import EXAMPLES

from .caller import Service

JSON = re.compile(r"application/(.+\+)?json")


async def unread(request: Request, _: Service) -> bytes:
    """The body as it came, of the service, which alone may send rows: reading a thousand takes a thread its time, and
    here it would hold up everybody else's calls.
    """
    said = Message()
    said["content-type"] = request.headers.get("content-type", "")
    if not JSON.fullmatch(said.get_content_type()):
        raise InvalidRequest("body: must be JSON, and its Content-Type application/json")
    return await request.body()


Unread = Annotated[bytes, Depends(unread)]


def taking(row: str) -> dict[str, Any]:
    """What a call takes and answers, for the OpenAPI document."""
    example = {row: {"value": {"rows": [EXAMPLES[row]]}}}
    content = {"application/json": {"schema": Rows.model_json_schema(), "examples": example}}
    return {
        "response_model": Results,
        "openapi_extra": {"x-row": row, "requestBody": {"required": True, "content": content}},
    }


def results(kind: str, outcomes: Sequence[Outcome]) -> Response:
    """The answer, as Results describes it; what became of the rows is counted on its way."""
    kinds = Counter(outcomes)
    for outcome, rows in kinds.items():
        ROWS.labels(kind, outcome.status).inc(rows)
    shown = {outcome: {"status": outcome.status, "reason": outcome.reason} for outcome in kinds}
    return Response(to_json({"results": [shown[outcome] for outcome in outcomes]}), media_type="application/json")
