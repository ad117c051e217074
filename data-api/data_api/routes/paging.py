"""Cursors: opaque to callers, the last id of a page to us."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Annotated, Protocol, TypeVar
from uuid import UUID

from fastapi import Query

from data_api.errors import InvalidCursor
from data_api.schemas.base import Page, Schema

Limit = Annotated[int, Query(ge=1, le=500, description="Most items in one answer.")]
Cursor = Annotated[str | None, Query(max_length=64, description="`next` of the answer before.")]


class Identified(Protocol):
    """A row with an id."""

    @property
    def id(self) -> UUID: ...


T = TypeVar("T", bound=Schema)


def below(cursor: str | None) -> UUID | None:
    """The id that the next page starts below."""
    if cursor is None:
        return None
    try:
        return UUID(bytes=urlsafe_b64decode(cursor + "=="))
    except ValueError:
        raise InvalidCursor from None


def answer(schema: type[T], rows: Sequence[Identified], more: bool) -> Page[T]:
    """The page, with the cursor of the next one."""
    last = urlsafe_b64encode(rows[-1].id.bytes).rstrip(b"=").decode() if more else None
    return Page(items=[schema.model_validate(row) for row in rows], next=last)
