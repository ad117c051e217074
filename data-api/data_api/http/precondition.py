"""`ETag` and `If-Match`: whoever changes a thing may say which state of it they saw, so that no change is lost."""

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


class State:
    """What a request says of the state that it knows, and what its answer says of the one that is."""

    def __init__(self, response: Response, if_match: IfMatch = None) -> None:
        self._response = response
        self._known = if_match and {tag.strip() for tag in if_match.split(",")}

    def expect(self, current: Callable[[], Schema]) -> None:
        """ChangedMeanwhile unless the caller knows this state, or says nothing of it. `current` must hold its row."""
        if self._known and "*" not in self._known and etag(current()) not in self._known:
            raise ChangedMeanwhile

    def shown(self, thing: T) -> T:
        """The thing, with its `ETag` on the answer."""
        self._response.headers["ETag"] = etag(thing)
        return thing


def etag(thing: Schema) -> str:
    """A digest of what is shown of a thing."""
    return f'"{hashlib.sha256(thing.model_dump_json().encode()).hexdigest()[:32]}"'


Precondition = Annotated[State, Depends()]
