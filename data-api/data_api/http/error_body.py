"""The JSON of every error."""

from __future__ import annotations

from data_api.schemas.base import Schema


class ErrorBody(Schema):
    """`error` is a name to act on, `detail` words for a person, `request_id` the response's X-Request-ID."""

    error: str
    detail: str
    request_id: str
