"""Cursors of lists. A cursor is base64 of the last id of a page and of a digest of the list's path and filters."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol, TypeVar
from uuid import UUID

from fastapi import Depends, Query, Request

from data_api.errors import InvalidCursor
from data_api.schemas.base import Page, Schema, Whole

Limit = Annotated[int, Query(ge=1, le=500, description="Most items in one response."), Whole]
Cursor = Annotated[str | None, Query(max_length=64, description="`next` of the previous page.")]
NO_FILTER = {"limit", "cursor", "format"}
"""Parameters that may differ from page to page."""


class Identified(Protocol):
    """A row with an id."""

    @property
    def id(self) -> UUID: ...


@dataclass(frozen=True)
class PagePosition:
    """Where a page begins, and the digest of its list: a cursor is refused by any other list or filter."""

    below: UUID | None
    digest: bytes


T = TypeVar("T", bound=Schema)


async def page_position(request: Request, cursor: Cursor = None) -> PagePosition:
    """The position in a cursor; InvalidCursor if it is of another list or filter, or malformed."""
    filters = sorted(pair for pair in request.query_params.multi_items() if pair[0] not in NO_FILTER)
    digest = hashlib.sha256(repr((request.url.path, filters)).encode("utf-8", "surrogatepass")).digest()[:8]
    if cursor is None:
        return PagePosition(None, digest)
    raw = _base64_decoded(cursor)
    if len(raw) != 16 + len(digest):
        raise InvalidCursor
    if raw[16:] != digest:
        raise InvalidCursor("The cursor is of another list. Send the filters that its first page was asked for with.")
    return PagePosition(UUID(bytes=raw[:16]), digest)


Position = Annotated[PagePosition, Depends(page_position)]


def decode_cursor(cursor: str | None) -> UUID | None:
    """The id below which the next page starts, in a list without filters."""
    if cursor is None:
        return None
    try:
        return UUID(bytes=_base64_decoded(cursor))
    except ValueError:
        raise InvalidCursor from None


def page_of(schema: type[T], rows: Sequence[Identified], more: bool, position: PagePosition | None = None) -> Page[T]:
    """The page, with the cursor of the next one."""
    digest = position.digest if position else b""
    last = urlsafe_b64encode(rows[-1].id.bytes + digest).rstrip(b"=").decode() if more else None
    return Page[schema].model_validate({"items": rows, "next": last})  # type: ignore[valid-type]


def _base64_decoded(cursor: str) -> bytes:
    try:
        return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        raise InvalidCursor from None
