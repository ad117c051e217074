"""Bodies of API keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field

from data_api.models.people.api_key import Scope
from data_api.schemas.base import Moment, Name, Schema


def _in_the_future(moment: datetime) -> datetime:
    if moment <= datetime.now(UTC):
        raise ValueError("must lie in the future")
    return moment


class KeyIn(Schema):
    """A key to create. Without `expires_at` it is valid until it is revoked."""

    name: Name
    scopes: Annotated[set[Scope], Field(min_length=1)]
    expires_at: Annotated[Moment, AfterValidator(_in_the_future)] | None = None


class KeyOut(Schema):
    """A key, without the key itself."""

    id: UUID
    user_id: UUID
    name: str
    scopes: list[Scope]
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    last_used_at: Moment | None


class NewKey(KeyOut):
    """A new key, with the key itself, which no other response holds."""

    key: str


class KeyUses(Schema):
    """Times of the last use at ai-api, by key id."""

    uses: Annotated[dict[UUID, Moment], Field(max_length=10_000)]
