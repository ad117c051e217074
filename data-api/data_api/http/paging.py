"""Cursors: opaque to callers; to us the last id of a page, and a digest of the list that it is a page of."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol, TypeVar
from uuid import UUID

from fastapi import Depends, Query, Request

from data_api.errors import InvalidCursor
from data_api.schemas.base import Page, Schema

Limit = Annotated[int, Query(ge=1, le=500, description="Most items in one answer.")]
Cursor = Annotated[str | None, Query(max_length=64, description="`next` of the answer before.")]
NO_FILTER = {"limit", "cursor", "format"}
"""Parameters that may differ from page to page."""


class Identified(Protocol):
    """A row with an id."""

    @property
    def id(self) -> UUID: ...


@dataclass(frozen=True)
class Place:
    """Where a page begins, and in which list: a cursor of one filter is refused by any other."""

    below: UUID | None
    digest: bytes


T = TypeVar("T", bound=Schema)


async def place(request: Request, cursor: Cursor = None) -> Place:
    """What the cursor says; InvalidCursor when it is of another list or filter, or none of ours."""
    filters = sorted(pair for pair in request.query_params.multi_items() if pair[0] not in NO_FILTER)
    digest = hashlib.sha256(repr((request.url.path, filters)).encode("utf-8", "surrogatepass")).digest()[:8]
    if cursor is None:
        return Place(None, digest)
    raw = _decoded(cursor)
    if len(raw) != 16 + len(digest):
        raise InvalidCursor
    if raw[16:] != digest:
        raise InvalidCursor("The cursor is of another list. Send the filters that its first page was asked for with.")
    return Place(UUID(bytes=raw[:16]), digest)


At = Annotated[Place, Depends(place)]


def below(cursor: str | None) -> UUID | None:
    """The id that the next page starts below, in a list that takes no filter."""
    if cursor is None:
        return None
    try:
        return UUID(bytes=_decoded(cursor))
    except ValueError:
        raise InvalidCursor from None


def answer(schema: type[T], rows: Sequence[Identified], more: bool, at: Place | None = None) -> Page[T]:
    """The page, with the cursor of the next one."""
    digest = at.digest if at else b""
    last = urlsafe_b64encode(rows[-1].id.bytes + digest).rstrip(b"=").decode() if more else None
    return Page[schema].model_validate({"items": rows, "next": last})  # type: ignore[valid-type]


def _decoded(cursor: str) -> bytes:
    try:
        return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        raise InvalidCursor from None
