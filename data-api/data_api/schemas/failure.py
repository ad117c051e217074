"""The one shape of every error."""

from __future__ import annotations

from .base import Schema


class Failure(Schema):
    """`error` is a name to act on, `detail` words for a person, `request_id` the answer's X-Request-ID."""

    error: str
    detail: str
    request_id: str
