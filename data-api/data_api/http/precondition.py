"""`ETag` and `If-Match`: optimistic locking, so that two people who change one thing do not lose a change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Response

from data_api.errors import ChangedMeanwhile
from data_api.schemas.base import Schema

T = TypeVar("T", bound=Schema)
IfMatch = Annotated[
    str | None,
    Header(max_length=1_000, description="The `ETag` of the state that this change starts from; 412 if it is another."),
]


class ETagPrecondition:
    """Compares the `If-Match` of a request with the current state, and sets the `ETag` of the response."""

    def __init__(self, response: Response, if_match: IfMatch = None) -> None:
        self._response = response
        self._known = if_match and {tag.strip() for tag in if_match.split(",")}

    def check(self, current: Callable[[], Schema]) -> None:
        """ChangedMeanwhile if the request has an `If-Match` that does not name this state. `current` must lock
        its row.
        """
        if self._known and "*" not in self._known and etag(current()) not in self._known:
            raise ChangedMeanwhile

    def with_etag(self, thing: T) -> T:
        """Returns `thing` and sets its `ETag` on the response."""
        self._response.headers["ETag"] = etag(thing)
        return thing


def etag(thing: Schema) -> str:
    """The `ETag`: a digest of the JSON of a thing."""
    return f'"{hashlib.sha256(thing.model_dump_json().encode()).hexdigest()[:32]}"'


Precondition = Annotated[ETagPrecondition, Depends()]
