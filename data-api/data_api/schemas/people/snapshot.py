"""The snapshot by which ai-api recognises callers without data-api."""

from __future__ import annotations

from uuid import UUID

from data_api.models.people.api_key import Scope
from data_api.models.people.user import Role
from data_api.schemas.base import Moment, Schema
from data_api.schemas.privacy.erasure import Erased

from .auth import Jwks


class LiveKey(Schema):
    """A key that may be used now, by its hash."""

    hash: str
    key_id: UUID
    user_id: UUID
    role: Role
    scopes: list[Scope]
    expires_at: Moment | None


class Snapshot(Schema):
    """Everything that ai-api needs to tell who is calling.

    A token is refused when its user is among the disabled, or when its `iat` lies before the user's entry in
    `tokens_valid_after` (both in unix seconds, with a fraction). Of the people in `erasures` nothing may be kept;
    pictures in rows of a task go after its `kept_days`, or never if it has none.
    """

    generated_at: Moment
    keys: list[LiveKey]
    disabled_users: list[UUID]
    tokens_valid_after: dict[UUID, float]
    jwks: Jwks
    erasures: list[Erased]
    kept_days: dict[str, int]
