"""The snapshot by which ai-api recognises callers without data-api."""

from __future__ import annotations

from uuid import UUID

from data_api.models.people.api_key import Scope
from data_api.models.people.user import Role
from data_api.schemas.base import Moment, Schema
from data_api.schemas.privacy.erasure import Erased

from .auth import Jwks


class LiveKey(Schema):
    """A valid key, by its hash."""

    hash: str
    key_id: UUID
    user_id: UUID
    role: Role
    scopes: list[Scope]
    expires_at: Moment | None


class Snapshot(Schema):
    """Everything that ai-api needs to recognise callers.

    A token is refused if its user is in `disabled_users`, or if its `iat` is before the user's entry in
    `tokens_valid_after` (both in unix seconds, with a fraction). Data of the people in `erasures` must be deleted;
    images in rows of a task are deleted after its `kept_days`, or never if it has none.
    """

    generated_at: Moment
    keys: list[LiveKey]
    disabled_users: list[UUID]
    tokens_valid_after: dict[UUID, float]
    jwks: Jwks
    erasures: list[Erased]
    kept_days: dict[str, int]
